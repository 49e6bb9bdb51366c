//! The compose file as it stands, started as its users start it, with each version of the tool that is there; and what
//! the README has them do with it, in the README's words.

use std::path::{Path, PathBuf};
use std::process::Command;

use coterie_lab::Reaper;

use super::common::wait_until;

/// An address range that no lab uses.
const NET: &str = "10.213.251";

/// A copy of the compose file and what it mounts, so that the logs of the test are its own.
struct Composed {
    _reaper: Reaper,
    files: tempfile::TempDir,
    tool: Vec<&'static str>,
    project: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The versions of docker compose that this machine has: the first is a program, the second a word of the engine's.
fn tools() -> Vec<Vec<&'static str>> {
    let all = [vec!["docker-compose"], vec!["docker", "compose"]];
    let is_there = |tool: &Vec<&str>| {
        let version = Command::new(tool[0]).args(&tool[1..]).arg("version").output();
        version.is_ok_and(|output| output.status.success())
    };
    let tools: Vec<_> = all.into_iter().filter(is_there).collect();
    assert!(!tools.is_empty(), "there is no docker compose");
    tools
}

impl Composed {
    fn new(tool: Vec<&'static str>) -> Self {
        let files = tempfile::tempdir().unwrap();
        std::fs::create_dir(files.path().join("docker")).unwrap();
        for file in ["docker-compose.yml", "docker/seeds.csv"] {
            std::fs::copy(root().join(file), files.path().join(file)).unwrap();
        }
        let project = format!("coterietest{}", std::process::id());
        let own = format!("--filter label=com.docker.compose.project={project}");
        let script = format!(
            "docker rm -fv $(docker ps -aq {own})\n\
             docker network rm $(docker network ls -q {own})\n\
             docker volume rm $(docker volume ls -q {own})"
        );
        let reaper = Reaper::new(&script, files.path()).unwrap();
        Composed { _reaper: reaper, files, tool, project }
    }

    fn run(&self, args: &[&str]) {
        let output = Command::new(self.tool[0])
            .args(&self.tool[1..])
            .args(["--project-name", &self.project])
            .args(args)
            .current_dir(self.files.path())
            .env("COTERIE_NET", NET)
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// What a node has logged so far.
    fn log(&self, node: &str) -> String {
        let name = format!("logs/outputfile_{node}.txt");
        std::fs::read_to_string(self.files.path().join(name)).unwrap_or_default()
    }

    /// Waits until every one of these nodes has logged a line with these words after `mark` lines.
    fn wait_for(&self, words: &str, marks: &[(String, usize)]) {
        wait_until(words, || {
            let has = |(node, mark): &(String, usize)| {
                self.log(node)
                    .lines()
                    .skip(*mark)
                    .any(|line| words.split('|').all(|word| line.contains(word)))
            };
            marks.iter().all(has)
        });
    }

    /// How many lines each of these nodes has logged.
    fn marks(&self, nodes: &[&str]) -> Vec<(String, usize)> {
        nodes.iter().map(|node| ((*node).to_owned(), self.log(node).lines().count())).collect()
    }

    fn logs(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.files.path().join("logs")).unwrap();
        let mut names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn healthy(project: &str) -> usize {
    let label = format!("label=com.docker.compose.project={project}");
    output("docker", &["ps", "-q", "--filter", &label, "--filter", "health=healthy"]).lines().count()
}

pub(crate) fn the_compose_file_starts_nine_healthy_nodes_and_more_on_request(image: &str) {
    // The file builds `coterie` where it is not there; here it is the image under test.
    if image != "coterie" {
        output("docker", &["tag", image, "coterie"]);
    }
    for tool in tools() {
        let composed = Composed::new(tool);
        starts_nine_healthy_nodes(&composed, image);
        what_the_readme_breaks(&composed);
        composed.run(&["down", "-v"]);
    }
}

fn starts_nine_healthy_nodes(composed: &Composed, image: &str) {
    composed.run(&["up", "-d", "--no-build"]);
    wait_until("nine healthy nodes", || healthy(&composed.project) == 9);
    let logs: Vec<String> = (1..=6)
        .map(|n| format!("outputfile_peer_{}.txt", 6000 + n))
        .chain((1..=3).map(|n| format!("outputfile_seed_{}.txt", 5000 + n)))
        .collect();
    assert_eq!(composed.logs(), logs);
    // What the image and its containers may do.
    let bytes: u64 = output("docker", &["image", "inspect", "--format", "{{.Size}}", image]).parse().unwrap();
    assert!(bytes < 15_000_000, "{bytes} bytes");
    let facts = "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.CapDrop}}";
    let facts = output("docker", &["inspect", "--format", facts, "peer1"]);
    assert!(facts == "65532:65532 true no [ALL]" || facts == "65532:65532 true  [ALL]", "{facts}");
    // An observer beside it.
    let watched = ["run", "--rm", "--network", "coterie", "coterie", "members", "--seed", "seed2:5002"];
    assert!(output("docker", &watched).starts_with("epoch "), "members are told of");
    composed.run(&["up", "-d", "--no-build", "--scale", "peers=2"]);
    wait_until("two more", || healthy(&composed.project) == 11);
    let more: Vec<String> = composed.logs().into_iter().filter(|name| name.contains("_6100")).collect();
    assert_eq!(more.len(), 2, "each with a log of its own: {more:?}");
    assert!(more.iter().all(|name| name.starts_with(&format!("outputfile_peer_{NET}."))), "{more:?}");
}

/// The first rows of the README's table, as they stand there.
fn what_the_readme_breaks(composed: &Composed) {
    let seeds = ["seed_5001", "seed_5002", "seed_5003"];
    let others = ["seed_5001", "seed_5002", "seed_5003", "peer_6001", "peer_6002", "peer_6005"];
    let (third, fourth) = (format!("{NET}.23:6003"), format!("{NET}.24:6004"));
    let marks = composed.marks(&others);
    output("docker", &["kill", "peer3"]);
    composed.wait_for(&format!("DEAD_CONFIRMED|dead={third}"), &marks);
    let (own, marks) = (composed.marks(&["peer_6003"]), composed.marks(&seeds));
    output("docker", &["start", "peer3"]);
    composed.wait_for(" JOINED ", &own);
    composed.wait_for(&format!("REGISTERED|peer={third}"), &marks);
    let marks = composed.marks(&others);
    output("docker", &["pause", "peer4"]);
    composed.wait_for(&format!("DEAD_CONFIRMED|dead={fourth}"), &marks);
    let own = composed.marks(&["peer_6004"]);
    output("docker", &["unpause", "peer4"]);
    composed.wait_for(" DECLARED_DEAD ", &own);
    composed.wait_for(" JOINED ", &own);
    let survivor = composed.marks(&["seed_5001"]);
    output("docker", &["kill", "seed2", "seed3"]);
    composed.wait_for(" QUORUM_LOST ", &survivor);
    let (back, marks) = (composed.marks(&["seed_5002"]), composed.marks(&["seed_5001", "peer_6001"]));
    output("docker", &["kill", "peer6"]);
    output("docker", &["start", "seed2"]);
    composed.wait_for(" LEADER ", &back);
    composed.wait_for(&format!("DEAD_CONFIRMED|dead={NET}.26:6006"), &marks);
    let back = composed.marks(&["peer_6006"]);
    output("docker", &["start", "seed3", "peer6"]);
    composed.wait_for(" JOINED ", &back);
    // What stops in order says so last, and with each of them.
    for peer in 1..=6 {
        let marks = composed.marks(&seeds);
        output("docker", &["stop", &format!("peer{peer}")]);
        composed.wait_for(&format!("LEFT|peer={NET}.2{peer}:600{peer}"), &marks);
        let log = composed.log(&format!("peer_600{peer}"));
        let last = log.lines().last().unwrap_or_default();
        assert!(last.contains(" SHUTTING_DOWN "), "peer{peer} said last: {last}");
    }
}
