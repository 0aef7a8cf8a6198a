//! The test suite, also on kernels that lack something: which features the suite is run without, and
//! how it is told. The taking away is the tests' own matter (`tests/src/lacks.rs`).

use std::path::Path;

use crate::step::{self, Result, cargo};

/// What NetRunner can do without, each by the name that the tests know it by.
const FEATURES: [&str; 6] = ["memfd", "pidfd", "clone", "close_range", "children", "pipe_size"];

/// What of the tests fits the portable form: the promises, and what is built on them without any other means of
/// the system's.
const PORTABLE: [&str; 10] =
    ["p1_", "p2_", "p3_", "p4_", "p5_", "p6_", "p7_", "p8_", "p9_", "p10_"];

/// What NetRunner does to save time and can do without: a run of its own, because without it the
/// others are hardly ever tried a second time.
const REUSE: &str = "reuse";

/// Runs all tests; without arguments the promises' once more, without all of these features at once.
///
/// Tests start `netrunner`, `puppet` and the examples from the folder of the test binaries, and cargo builds
/// a command for the tests of its own package only. So everything is built first.
pub(crate) fn run(root: &Path, args: &[String]) -> Result<()> {
    if args.first().is_none_or(|option| option != "--portable") {
        build(root)?;
    }
    match args.split_first() {
        Some((option, args)) if option == "--portable" => portable(root, args),
        Some((option, rest)) if option == "--without" => match rest.split_first() {
            Some((names, args)) => without(root, names, args),
            None => Err("`--without` wants names".into()),
        },
        Some(_) => step::run(tests(root).args(args)),
        None => {
            step::run(&mut tests(root))?;
            promises_without(root, &FEATURES.join(","), &[])
        }
    }
}

/// What takes too long for each change: the model in depth, the promises without each of the features alone, once as an
/// old kernel answers and once as a careless sandbox does.
pub(crate) fn run_in_full(root: &Path) -> Result<()> {
    run(root, &[])?;
    explore_in_depth(root)?;
    without(root, "each", &[])?;
    promises_without(root, REUSE, &[])?;
    // What is a file and no call is never denied but missing, and a size is never anything but denied.
    let denied = FEATURES.iter().filter(|name| !["children", "pipe_size"].contains(*name));
    denied
        .map(|name| format!("{name},eperm"))
        .try_for_each(|names| promises_without(root, &names, &[]))
}

/// The model of the whole, within wider bounds (`netrunner-core/tests/model`). One exploration at a time, for
/// each keeps millions of states.
fn explore_in_depth(root: &Path) -> Result<()> {
    let mut model = cargo(root);
    model.args(["test", "--release", "--package", "netrunner-core", "--test", "model"]);
    model.args(["--", "--nocapture", "--test-threads", "1"]).env("NETRUNNER_MODEL", "deep");
    step::run(&mut model)?;
    // And how threads pass on who reads a lane.
    let mut handover = cargo(root);
    handover.args(["test", "--release", "--package", "netrunner-tests", "--features", "loom"]);
    step::run(handover.args(["--test", "handover"]).env("NETRUNNER_MODEL", "deep"))
}

/// Without these: names with commas, `all` at once, or `each` alone.
fn without(root: &Path, names: &str, args: &[String]) -> Result<()> {
    match names {
        "each" => FEATURES.iter().try_for_each(|name| promises_without(root, name, args)),
        "all" => promises_without(root, &FEATURES.join(","), args),
        names => promises_without(root, names, args),
    }
}

fn promises_without(root: &Path, names: &str, args: &[String]) -> Result<()> {
    let unknown = |name: &&str| !FEATURES.contains(name) && ![REUSE, "eperm"].contains(name);
    if let Some(name) = names.split(',').find(unknown) {
        let known = FEATURES.join(", ");
        return Err(
            format!("nothing to do without is called `{name}`, only {known}, {REUSE}").into()
        );
    }
    eprintln!("xtask: without {names}");
    let mut tests = tests(root);
    tests.args(["--test", "it"]).args(args).env("NETRUNNER_TEST_WITHOUT", names);
    step::run(&mut tests)
}

/// The promises' tests of the portable form; and that it does not even try what only Linux has, where each of
/// these calls is refused. What a test is about that the form does not promise, it skips itself, and says so.
fn portable(root: &Path, args: &[String]) -> Result<()> {
    let tests = || {
        let mut tests = cargo(root);
        // Other flags are another build of everything: in a folder of its own neither undoes the other.
        tests.env("RUSTFLAGS", "--cfg netrunner_portable");
        tests.env("CARGO_TARGET_DIR", root.join("target/portable"));
        tests.args(["test", "--package", "netrunner-tests", "--test", "it", "--"]);
        tests
    };
    if !args.is_empty() {
        return step::run(tests().args(args));
    }
    step::run(tests().args(PORTABLE))?;
    let mut refused = tests();
    refused.arg("fallbacks::").env("NETRUNNER_TEST_WITHOUT", FEATURES.join(","));
    step::run(&mut refused)
}

fn build(root: &Path) -> Result<()> {
    step::run(cargo(root).args(["build", "--workspace", "--all-features", "--bins", "--examples"]))
}

fn tests(root: &Path) -> step::Command {
    let mut tests = cargo(root);
    tests.args(["test", "--workspace", "--all-features"]);
    tests
}
