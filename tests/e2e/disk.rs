//! A broker whose disk is full dies, comes back when there is room, and nobody has lost anything.

use crate::broker::{Broker, create_topic, free_port};
use crate::checker::check_at_the_end;
use crate::daemon::{Setup, unique};
use crate::faults::{Producing, assert_no_divergence, produce};
use crate::wait_for;
use crate::watcher::Watcher;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A file system of a few megabytes.
struct Tiny(PathBuf);

impl Tiny {
    /// `None` where we may not mount.
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"]).arg(at).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Not a byte more.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.ballast()).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        // Lazily: the broker may not be gone yet.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_is_full_is_waited_for() {
    let metadata = tempfile::tempdir().unwrap();
    let properties = format!("metadata.log.dir={}\n", metadata.path().display());
    let mut broker = Broker::prepare("4.0.0", (free_port(), free_port()), properties);
    let Some(disk) = Tiny::mount(&broker.data()) else {
        println!("SKIPPED: a small file system cannot be mounted here");
        return;
    };
    broker.resume();
    let input = unique("full");
    create_topic(&broker.bootstrap, &input, 4);
    let setup = Setup::new(&broker.bootstrap, "full", &input);
    setup.create_outputs();
    let mut sent = 1_200;
    produce(&broker.bootstrap, &input, sent, 50_000).join().unwrap();
    let watcher = Watcher::start(&setup);
    let mut daemon = setup.start("a");
    daemon.wait_until_ready();
    for _ in 0..2 {
        // Until the broker has noticed: it writes nothing if nobody does.
        let producing = Producing::behind(sent, &broker.bootstrap, &input, 200, 1_200);
        std::thread::sleep(Duration::from_secs(2));
        disk.fill();
        wait_for("the broker to give up", 60, || broker.has_ended().then_some(()));
        std::thread::sleep(Duration::from_secs(5));
        assert_eq!(daemon.has_ended(), None, "{}", daemon.log());
        println!("with a full disk: {}", daemon.why_not_ready());
        std::fs::remove_file(disk.ballast()).unwrap();
        broker.kill();
        broker.resume();
        sent += producing.stop();
        setup.wait_until_read();
        daemon.wait_until_ready();
        watcher.assert_content();
    }
    assert_no_divergence(&[&daemon]);
    daemon.stop();
    watcher.finish(&setup);
    check_at_the_end(&setup);
    broker.kill();
}
