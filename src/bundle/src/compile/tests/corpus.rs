//! Other people's configurations, and ours, in a folder beside the project. The project's own samples are tested without it.

use super::*;

/// Validators accept it, and then the proxy does not start.
const BAD_REGEX: &str = "own-15-invalid-regex-passes-validation.kdl";
/// These name paths that the node must have.
const NODE_PATHS: [&str; 2] =
    ["23-static-root-missing-on-this-machine.kdl", "24-agent-socket-parent-missing-on-this-machine.kdl"];

fn folder(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let folder = env::var_os("PILOTHOUSE_SHARED").map_or_else(beside, PathBuf::from).join("kdl").join(name);
    if !folder.is_dir() {
        println!("{} is not there: only the project's own samples are tested", folder.display());
        return None;
    }
    Some(folder)
}

fn configurations(folder: &Path) -> BTreeMap<String, String> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| path.extension().is_some_and(|extension| extension == "kdl"));
    let named =
        paths.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(path).unwrap()));
    named.collect()
}

#[test]
fn what_the_proxy_accepts_compiles() {
    let Some(folder) = folder("valid") else { return };
    let mut files = configurations(&folder);
    let regex = files.remove(BAD_REGEX).unwrap();
    assert_eq!(shorts(&refused(&regex)), ["invalid_regex 20:13"]);
    assert!(files.len() >= 50);
    let failed: Vec<_> = files
        .iter()
        .filter_map(|(name, source)| compile(source, &Limits::default()).err().map(|problems| (name, problems)))
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let address = &files["own-16-bad-listener-address-passes-validation.kdl"];
    assert!(compiled(address).warnings.iter().any(|warning| warning.code == "listener_address"));
}

#[test]
fn what_the_proxy_refuses_is_refused_at_the_place_that_is_known() {
    let Some(folder) = folder("invalid") else { return };
    let files = configurations(&folder);
    assert!(files.len() >= 20);
    let places = fs::read_to_string(folder.join("EXPECTED.tsv")).unwrap();
    for (name, source) in &files {
        if NODE_PATHS.contains(&name.as_str()) {
            assert!(compiled(source).warnings.iter().any(|warning| warning.code == "node_path"), "{name}");
            continue;
        }
        let problems = refused(source);
        let row = places.lines().find(|line| line.starts_with(name.as_str())).unwrap();
        let expected = row.split('\t').nth(2).unwrap();
        if expected != "-" {
            assert_eq!(shorts(&problems), [format!("syntax {expected}")], "{name}");
        }
        assert!(problems.iter().all(|problem| !problem.message.is_empty()), "{name}: {problems:#?}");
    }
}
