//! A power cut at any moment, also in the middle of an fsync, for the engine that writes in places: what was written since
//! the disk was last made to have everything is there or not, each write by itself.

use std::io;
use std::sync::PoisonError;

use redb::StorageBackend;

use super::super::btree::Btree;
use super::super::engine::{Engine, Table, Write};
use super::*;

/// What an engine asks of a file.
#[derive(Clone, Debug)]
enum Request {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
    Sync,
}

/// A file that remembers everything that was ever asked of it.
#[derive(Clone, Debug, Default)]
struct Recorder(Arc<Mutex<(Vec<u8>, Vec<Request>)>>);

impl Recorder {
    fn state(&self) -> MutexGuard<'_, (Vec<u8>, Vec<Request>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, request: Request) {
        let (content, asked) = &mut *self.state();
        carry_out(content, &request);
        asked.push(request);
    }

    fn asked(&self) -> usize {
        self.state().1.len()
    }

    /// The file after the power went when so much had been asked: all that an fsync covers, and of the rest what the draws
    /// say.
    fn after_power_cut(&self, at: usize, draws: &[bool]) -> Self {
        let asked = &self.state().1[..at];
        let covered = asked.iter().rposition(|request| matches!(request, Request::Sync)).unwrap_or(0);
        let mut content = Vec::new();
        asked[..covered].iter().for_each(|request| carry_out(&mut content, request));
        let lucky = asked[covered..].iter().zip(draws.iter().cycle()).filter(|(_, drawn)| **drawn);
        lucky.for_each(|(request, _)| carry_out(&mut content, request));
        Self(Arc::new(Mutex::new((content, Vec::new()))))
    }
}

fn carry_out(content: &mut Vec<u8>, request: &Request) {
    match request {
        Request::Write { at, bytes } => {
            let end = at + bytes.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[*at..end].copy_from_slice(bytes);
        }
        Request::Length(length) => content.resize(*length, 0),
        Request::Sync => {}
    }
}

fn narrow(offset: u64) -> usize {
    usize::try_from(offset).expect("it fits memory")
}

impl StorageBackend for Recorder {
    fn len(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.state().0.len()).expect("it fits 64 bits"))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (at, end) = (narrow(offset), narrow(offset) + out.len());
        out.copy_from_slice(self.state().0.get(at..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.ask(Request::Length(narrow(length)));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.ask(Request::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.ask(Request::Write { at: narrow(offset), bytes: bytes.into() });
        Ok(())
    }
}

fn rows_of(engine: &Btree) -> Vec<Vec<(Bytes, Bytes)>> {
    let all = PageLimit { rows: u32::MAX, bytes: u32::MAX };
    Space::ALL.map(|space| engine.scan(space.into(), &[], None, all).expect("scans").rows).into()
}

fn writes(rows: &[Row]) -> Vec<Write> {
    let write = |(space, key, row): &Row| Write {
        table: Table::from(*space),
        key: key.clone().into(),
        row: row.clone().map(Bytes::from),
    };
    rows.iter().map(write).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_power_cut_leaves_what_was_synced_and_a_beginning_of_the_rest(
        groups in vec(vec(rows(), 1..4), 1..8),
        cuts in vec((any::<prop::sample::Index>(), vec(any::<bool>(), 1..60)), 8),
    ) {
        let file = Recorder::default();
        let engine = Btree::in_file(file.clone()).expect("makes");
        let mut exact = MemoryStore::default();
        let mut past = vec![everything(&exact)];
        // How much had been asked of the file when a sync returned, and how many batches that made durable.
        let mut synced = vec![(file.asked(), 0)];
        for group in groups {
            for rows in group {
                engine.write(writes(&rows)).expect("writes");
                exact.apply(batch(&rows)).expect("applies");
                past.push(everything(&exact));
            }
            engine.sync().expect("syncs");
            synced.push((file.asked(), past.len() - 1));
        }
        let (first, last) = (synced[0].0, file.asked());
        for (at, draws) in cuts {
            let at = first + at.index(last - first + 1);
            let (_, durable) = *synced.iter().rfind(|(asked, _)| *asked <= at).expect("the first one");
            let found = rows_of(&Btree::in_file(file.after_power_cut(at, &draws)).expect("opens again"));
            prop_assert!(past[durable..].contains(&found), "{found:?} is none of {:?}", &past[durable..]);
        }
    }
}
