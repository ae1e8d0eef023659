//! What the control plane remembers over a restart, and in which rows. Decides nothing but whether a store is usable.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::life::Lives;
use super::{Identity, Node, Start};
use crate::config::ClusterConfig;
use crate::id::{ActorId, NodeId};
use crate::layout::{Acceptor, History, HistoryRow};
use crate::membership::Member;
use crate::rng::Rng;
use crate::storage::{Batch, PageLimit, Space, Storage, StorageError};

const STORE: &[u8] = b"node/store";
const IDENTITY: &[u8] = b"node/identity";
const MEMBERS: &[u8] = b"node/members";
pub(super) const LAYOUT: &[u8] = b"node/layout";
pub(super) const ACCEPTOR: &[u8] = b"node/acceptor";
/// Before the name of a node: what is remembered of its lives.
const LIFE: &str = "node/life/";

/// Why a node cannot start with its store. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// It cannot be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A row is not what this version writes.
    #[error("the row {0} of the data directory is damaged, or was written by another version")]
    Row(&'static str),
    /// It is another node's.
    #[error("the data directory belongs to node {owner}; start with --node-id {owner}, or with another --data-dir")]
    OtherNode {
        /// Whose it is.
        owner: NodeId,
    },
    /// Its cluster agreed on something else.
    #[error(
        "the cluster in the data directory has {stored}; this node was started with {given}: start it with the cluster's own"
    )]
    OtherConfig {
        /// What the cluster agreed on.
        stored: ConfigText,
        /// What the node was started with.
        given: ConfigText,
    },
}

/// A cluster's configuration as people read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigText(pub ClusterConfig);

impl core::fmt::Display for ConfigText {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let ClusterConfig { name, replication, placement, strategies } = &self.0;
        let (n, r, w) = (replication.n, replication.r, replication.w);
        write!(
            f,
            "cluster {name}, replication factor {n}, read quorum {r}, write quorum {w}, placement {placement}, "
        )?;
        write!(f, "strategy {strategies}")
    }
}

#[derive(Serialize, Deserialize)]
struct StoreRow {
    node: NodeId,
    actor: ActorId,
    boot: u64,
    ticks: u64,
}

#[derive(Serialize, Deserialize)]
struct IdentityRow {
    identity: Identity,
    config: ClusterConfig,
}

#[derive(Default, Serialize, Deserialize)]
struct MembersRow {
    incarnation: u64,
    others: Vec<Member>,
}

/// Everything remembered, read at the start.
pub(super) struct Rows {
    pub(super) actor: ActorId,
    pub(super) boot: u64,
    pub(super) ticks: u64,
    /// Whether the actor was minted for this start.
    pub(super) minted: bool,
    pub(super) incarnation: u64,
    pub(super) identity: Option<Identity>,
    pub(super) members: Vec<Member>,
    pub(super) lives: BTreeMap<NodeId, Lives>,
    /// Nothing of a node that never had a cluster.
    pub(super) history: Option<History>,
    pub(super) acceptor: Acceptor,
}

impl Rows {
    /// Reads the store and counts this start. A store without rows is a new one and gets an actor of its own, and so does
    /// one of which no other node knows.
    pub(super) fn read<S: Storage>(storage: &S, start: &Start, rng: &mut Rng) -> Result<Self, StartError> {
        let fresh = ActorId(rng.u128());
        let row: Option<HistoryRow> = read(storage, LAYOUT, "node/layout")?;
        let history = row.map(|row| {
            let history = History::from_row(row, &start.node, &start.config.cluster);
            history.ok_or(StartError::Row("node/layout"))
        });
        let history = history.transpose()?;
        let is_alone = history.as_ref().is_none_or(|history| history.layout().len() <= 1);
        let store = read::<_, StoreRow>(storage, STORE, "node/store")?;
        let (actor, boot, ticks) = match store {
            Some(row) if row.node != start.node => return Err(StartError::OtherNode { owner: row.node }),
            Some(row) if is_alone => (fresh, row.boot.saturating_add(1), row.ticks),
            Some(row) => (row.actor, row.boot.saturating_add(1), row.ticks),
            None => (fresh, 1, 0),
        };
        let identity = read::<_, IdentityRow>(storage, IDENTITY, "node/identity")?;
        if let Some(row) = &identity
            && row.config != start.config.cluster
        {
            let (stored, given) = (ConfigText(row.config.clone()), ConfigText(start.config.cluster.clone()));
            return Err(StartError::OtherConfig { stored, given });
        }
        let members: MembersRow = read(storage, MEMBERS, "node/members")?.unwrap_or_default();
        Ok(Self {
            actor,
            boot,
            ticks,
            minted: actor == fresh,
            incarnation: members.incarnation + 1,
            identity: identity.map(|row| row.identity),
            members: members.others,
            lives: read_lives(storage)?,
            history,
            acceptor: read(storage, ACCEPTOR, "node/acceptor")?.unwrap_or_default(),
        })
    }
}

/// Where the lives of a node are remembered.
pub(super) fn life_key(node: &NodeId) -> Vec<u8> {
    let mut key = String::from(LIFE);
    key.push_str(node.as_str());
    key.into_bytes()
}

fn read_lives<S: Storage>(storage: &S) -> Result<BTreeMap<NodeId, Lives>, StartError> {
    let damaged = || StartError::Row("node/life");
    let limit = PageLimit { rows: u32::MAX, bytes: u32::MAX };
    let mut lives = BTreeMap::new();
    // `0` follows `/`: the end of all names.
    let page = storage.scan(Space::Meta, LIFE.as_bytes(), Some(b"node/life0"), limit)?;
    for (key, row) in page.rows {
        let name = core::str::from_utf8(&key[LIFE.len()..]).map_err(|_| damaged())?;
        let node = NodeId::new(name).map_err(|_| damaged())?;
        lives.insert(node, postcard::from_bytes(&row).map_err(|_| damaged())?);
    }
    Ok(lives)
}

fn read<S: Storage, T: DeserializeOwned>(storage: &S, key: &[u8], name: &'static str) -> Result<Option<T>, StartError> {
    match storage.get(Space::Meta, key)? {
        Some(row) => postcard::from_bytes(&row).map(Some).map_err(|_| StartError::Row(name)),
        None => Ok(None),
    }
}

/// A row's bytes.
pub(super) fn encode(row: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(row).expect("every row has a stored form")
}

impl<S: Storage> Node<S> {
    pub(super) fn save_store(&mut self) {
        let batch = self.store_row();
        self.must_apply(batch);
    }

    pub(super) fn store_row(&self) -> Batch {
        let row = StoreRow { node: self.start.node.clone(), actor: self.actor(), boot: self.boot, ticks: self.ticks };
        let mut batch = Batch::default();
        batch.put(Space::Meta, STORE, encode(&row));
        batch
    }

    /// Remembers everybody. The list alone can be learned again; an incarnation that was shown must not be forgotten.
    pub(super) fn save_members(&mut self, shown: bool) {
        let me = &self.start.node;
        let members = self.membership.members().map(|known| &known.member);
        let others = members.filter(|member| member.node != *me).map(|member| Member::clone(member)).collect();
        let row = MembersRow { incarnation: self.membership.me().incarnation, others };
        let mut batch = Batch::default();
        batch.put(Space::Meta, MEMBERS, encode(&row));
        if shown {
            self.must_apply(batch);
        } else {
            // The failure is on the trace, and the next change tries again.
            let _ = self.apply(batch);
        }
    }

    pub(super) fn save_identity(&mut self, identity: Identity) {
        let row = IdentityRow { identity, config: self.start.config.cluster.clone() };
        let mut batch = Batch::default();
        batch.put(Space::Meta, IDENTITY, encode(&row));
        batch.put(Space::Meta, LAYOUT, encode(&self.history.row(&self.start.node)));
        self.must_apply(batch);
        self.identity = Some(identity);
    }
}
