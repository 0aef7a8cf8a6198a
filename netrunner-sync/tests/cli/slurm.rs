//! The recipe for Slurm of docs/RECIPES.md, on a cluster of this machine alone: munged, slurmctld and slurmd,
//! on ports of their own, as daemons that end with the test.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use netrunner_sync::Daemon;

use crate::harness::*;

struct Cluster {
    folder: Folder,
    daemons: Vec<Daemon>,
}

/// Two ports that nobody has.
fn ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

impl Cluster {
    /// `None` where Slurm is not installed, or can't run.
    fn start() -> Option<Cluster> {
        for program in ["munged", "slurmctld", "slurmd", "srun", "scancel"] {
            if let Err(error) = Command::new(program).arg("-V").output() {
                eprintln!("SKIPPED: Slurm can't be had: {program}: {error}");
                return None;
            }
        }
        if !rustix::process::getuid().is_root() {
            eprintln!("SKIPPED: slurmd wants to be root's");
            return None;
        }
        let mut cluster = Cluster { folder: Folder::new(), daemons: Vec::new() };
        let here = cluster.folder.path("");
        let here = here.trim_end_matches('/');
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let (host, [control, node]) = (host.trim(), ports());
        for name in ["state", "spool", "run"] {
            std::fs::create_dir(cluster.folder.path(name)).unwrap();
        }
        let mode = |name: &str, mode: u32| {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(cluster.folder.path(name), mode).unwrap();
        };
        // munged minds who else could write where its socket is.
        mode("", 0o755);
        mode("run", 0o755);
        cluster.folder.write("key", &format!("{host}{control}{node}").repeat(20));
        mode("key", 0o600);
        cluster.folder.write(
            "slurm.conf",
            &format!(
                "ClusterName=test\nSlurmctldHost={host}(127.0.0.1)\nSlurmUser=root\nSlurmdUser=root\n\
                 SlurmctldPort={control}\nSlurmdPort={node}\n\
                 AuthType=auth/munge\nAuthInfo=socket={here}/run/munge\nMpiDefault=none\n\
                 ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nReturnToService=2\nKillWait=5\n\
                 StateSaveLocation={here}/state\nSlurmdSpoolDir={here}/spool\n\
                 SlurmctldPidFile={here}/run/slurmctld\nSlurmdPidFile={here}/run/slurmd\n\
                 NodeName={host} NodeAddr=127.0.0.1 CPUs=1\nPartitionName=main Nodes={host} Default=YES\n"
            ),
        );
        let in_run = |name: &str| format!("--{name}-file={here}/run/munge.{name}");
        let munged = [
            "--foreground".to_owned(),
            format!("--key-file={here}/key"),
            format!("--socket={here}/run/munge"),
            in_run("pid"),
            in_run("log"),
            in_run("seed"),
        ];
        cluster.daemon("munged", &munged.each_ref().map(String::as_str));
        let socket = cluster.folder.path("run/munge");
        until("munged listens", || std::path::Path::new(&socket).exists());
        cluster.daemon("slurmctld", &["-D"]);
        cluster.daemon("slurmd", &["-D", "-N", host]);
        let idle = |told: &Ended| told.stdout.trim() == "idle";
        until("the node is there", || {
            let mut sinfo = cluster.tool("sinfo");
            sinfo.args(["-h", "-o", "%t"]);
            idle(&end(sinfo))
        });
        Some(cluster)
    }

    fn configuration(&self) -> String {
        self.folder.path("slurm.conf")
    }

    fn daemon(&mut self, program: &str, words: &[&str]) {
        let mut command = netrunner_sync::Command::new(program);
        command.args(words).env("SLURM_CONF", self.configuration());
        command.grace(Duration::from_secs(10));
        self.daemons.push(Daemon::builder(command).start().unwrap());
    }

    fn tool(&self, program: &str) -> Command {
        let mut tool = fresh(program);
        tool.env("SLURM_CONF", self.configuration());
        tool
    }

    /// Starts a job that leaves a process in a session of its own, cancels it, and gives the number of that.
    fn cancelled(&self, name: &str, before: &[&str]) -> u32 {
        let number = self.folder.path(name);
        let script = format!(
            "setsid sh -c 'trap \"\" TERM; echo $$ > {number}.new; mv {number}.new {number}; exec sleep 1000' \
             </dev/null >/dev/null 2>&1 &
             until [ -e {number} ]; do sleep 0.01; done; echo $SLURM_JOB_ID; wait"
        );
        let mut srun = self.tool("srun");
        srun.arg("--unbuffered").args(before).args(["sh", "-c", &script]);
        let mut live = Live::start(srun);
        let job = live.line();
        let mut scancel = self.tool("scancel");
        scancel.arg(job);
        end(scancel).expect(0);
        live.end();
        self.folder.read(name).trim().parse().unwrap()
    }
}

#[test]
fn a_step_of_slurm_ends_as_a_whole() {
    let Some(mut cluster) = Cluster::start() else { return };

    let mut srun = cluster.tool("srun");
    srun.args([NETRUNNER, "run", "--", "sh", "-c", "exit 7"]);
    end(srun).expect(7);

    let left = cluster.cancelled("with", &[NETRUNNER, "run", "--grace", "1s", "--"]);
    until("it is gone", || matches!(state(left), None | Some('Z')));

    // What it is for.
    let left = cluster.cancelled("without", &[]);
    assert!(!matches!(state(left), None | Some('Z')), "Slurm has ended it by itself");
    signal(left, 9);

    while let Some(daemon) = cluster.daemons.pop() {
        // How it takes that is its own affair.
        let _ = daemon.stop();
    }
}
