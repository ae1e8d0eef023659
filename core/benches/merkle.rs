//! What it costs to keep a hash tree up with a write: the old entry goes, the new one comes, along one path. It must not
//! grow with the number of keys.
//!
//! `cargo bench -p quorate-core --bench merkle`

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use quorate_core::hash::Position;
use quorate_core::id::Key;
use quorate_core::merkle::{Sum, Tree, TreeNode};

fn put(tree: &mut Tree, at: Position, old: Sum, new: Sum) {
    let leaf = tree.leaf_with(at, old, new).expect("the old entry is there");
    tree.set_leaf(TreeNode::leaf_at(at).index(), leaf);
}

/// The keys of one slice: a store of 64 times as many keys has so many in each.
fn update(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("merkle/update");
    for keys in [10_000_u64, 100_000, 1_000_000] {
        let mut tree = Tree::default();
        let entries: Vec<(Position, Sum)> = (0..keys)
            .map(|number| {
                let key = Key::new(&format!("key {number:016}")).expect("a good key");
                (Position::of(&key), Sum::of(&key, [0; 16]))
            })
            .collect();
        for (at, sum) in &entries {
            put(&mut tree, *at, Sum::EMPTY, *sum);
        }
        let mut turn = entries.iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(keys), |bencher| {
            bencher.iter(|| {
                let (at, sum) = turn.next().expect("a cycle");
                put(&mut tree, *at, *sum, black_box(*sum));
            });
        });
    }
    group.finish();
}

fn entry(criterion: &mut Criterion) {
    let key = Key::new("key 0000000000000000").expect("a good key");
    criterion.bench_function("merkle/entry of a key of 20 bytes", |bencher| {
        bencher.iter(|| Sum::of(black_box(&key), black_box([7; 16])));
    });
}

criterion_group!(benches, update, entry);
criterion_main!(benches);
