//! Seed lists in all their spellings: what was read can be written, and read again as the same.

use coterie_common::seed_list::SeedList;

pub(crate) fn target(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match SeedList::parse("list", text) {
        Err(error) => assert!(!error.to_string().contains('\n'), "an error of more than a line: {error}"),
        Ok(list) => {
            assert!(!list.seeds.is_empty());
            let written: String = list.seeds.iter().map(|seed| format!("{seed}\n")).collect();
            let names = |list: &SeedList| list.seeds.iter().map(ToString::to_string).collect::<Vec<_>>();
            let again = SeedList::parse("list", &written);
            assert_eq!(again.as_ref().map(names).ok(), Some(names(&list)), "{again:?}");
        }
    }
}
