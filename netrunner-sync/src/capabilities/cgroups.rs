//! The process's own place in the hierarchy of cgroup v2, and whether it may make groups there.

use std::path::Path;

use netrunner_cgroup::{Place, Unavailable};

use super::Capability;

/// Whether groups can be made, whether they can have limits, and where.
pub(super) fn probe() -> (Capability, Capability, Option<Place>) {
    let place = match Place::locate() {
        Ok(place) => place,
        Err(reason) => return (missing(&reason), missing(&reason), None),
    };
    let groups = place.check().map_or_else(|reason| missing(&reason), |()| Capability::Available);
    let limits = match groups {
        Capability::Available => limits(&place.group, &place.controllers, place.hybrid),
        Capability::Missing(_) => groups.clone(),
    };
    (groups, limits, Some(place))
}

fn missing(reason: &Unavailable) -> Capability {
    const EFFECT: &str = "containment by cgroup, its limits and its statistics can't be had";
    Capability::missing(reason.to_string(), EFFECT, reason.remedy())
}

/// Whether the controllers are there that limits are made of.
fn limits(group: &Path, controllers: &[String], hybrid: bool) -> Capability {
    let offered = |name: &&str| controllers.iter().any(|controller| controller == name);
    let lacking: Vec<&str> =
        ["memory", "pids", "cpu"].into_iter().filter(|name| !offered(name)).collect();
    if lacking.is_empty() {
        return Capability::Available;
    }
    let lacking = lacking.join(", ");
    Capability::missing(
        format!("the own group `{}` is not offered: {lacking}", group.display()),
        "these limits, and the statistics that belong to them, can't be had",
        match hybrid {
            true => {
                "boot with `systemd.unified_cgroup_hierarchy=1` or `cgroup_no_v1=all`, so that \
                 version 1 does not have them"
            }
            false => {
                "have them delegated: `systemd-run --user --scope -p Delegate=yes`, or write \
                 `+memory +pids +cpu` into `cgroup.subtree_control` of the groups above"
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_need_their_controllers() {
        let with = |controllers: &[&str], hybrid| {
            let controllers: Vec<String> =
                controllers.iter().map(|&name| name.to_owned()).collect();
            limits(Path::new("/m/g"), &controllers, hybrid)
        };
        assert!(with(&["cpu", "io", "memory", "pids"], false).is_available());
        for (hybrid, remedy) in [(true, "cgroup_no_v1"), (false, "subtree_control")] {
            let Capability::Missing(missing) = with(&["cpu"], hybrid) else {
                panic!("two are missing");
            };
            assert!(missing.reason.ends_with("memory, pids"), "{missing:?}");
            assert!(missing.remedy.contains(remedy), "{missing:?}");
        }
    }
}
