//! The compose file as it stands, started as its users start it.

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

impl Composed {
    fn new() -> Self {
        let files = tempfile::tempdir().unwrap();
        std::fs::create_dir(files.path().join("docker")).unwrap();
        for file in ["docker-compose.yml", "docker/seeds.csv"] {
            std::fs::copy(root().join(file), files.path().join(file)).unwrap();
        }
        // The second version of the tool is a word of the engine's program, the first a program.
        let second = Command::new("docker").args(["compose", "version"]).output().unwrap().status.success();
        let tool = if second { vec!["docker", "compose"] } else { vec!["docker-compose"] };
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
    let composed = Composed::new();
    // The file builds `coterie` where it is not there; here it is the image under test.
    if image != "coterie" {
        output("docker", &["tag", image, "coterie"]);
    }
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
