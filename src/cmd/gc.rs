//! `sarsen server gc`: remove at once what nobody leases any more, or say what would go.

use storage_server::node;
use storage_server::{GcOptions, GcReport, Gone, GoneBy, Reason};

use crate::cli::Gc;
use crate::out::say;
use crate::report::{Partly, tell_of};
use crate::sizes::{human, plural};

pub(crate) fn run(args: &Gc) -> anyhow::Result<()> {
    let opened = node::open_stores(&args.server_dir)?;
    let options = GcOptions { dry_run: args.dry_run, now: args.now };
    let (mut stores, mut failed) = (Vec::new(), false);
    for (storage, store) in opened.config.storage.iter().zip(&opened.stores) {
        let path = storage.path.display().to_string();
        let report = match store.as_ref().map(|store| store.gc(options)) {
            Ok(Ok(report)) => report,
            Ok(Err(error)) => {
                tell_of(&path, &error);
                failed = true;
                continue;
            }
            Err(error) => {
                tell_of(&path, error);
                failed = true;
                continue;
            }
        };
        match args.json.json {
            true => stores.push(to_json(&path, &report)),
            false => print(&path, &report, args.dry_run)?,
        }
    }
    if args.json.json {
        say!("{:#}", serde_json::json!({ "dry_run": args.dry_run, "now": args.now, "stores": stores }))?;
    }
    if failed {
        Err(Partly { what: "not all stores could be looked through", again: true }.into())
    } else {
        Ok(())
    }
}

fn print(path: &str, report: &GcReport, dry_run: bool) -> anyhow::Result<()> {
    say!("{path}")?;
    let done = if dry_run { "would go" } else { "removed" };
    for (reason, gone) in &report.gone {
        say!("  {}: {} {done}", text(*reason), amount(gone))?;
    }
    if report.gone.is_empty() {
        say!("  nothing {}", if dry_run { "would go" } else { "to remove" })?;
    }
    let waiting = Gone::sum(&report.waiting);
    if waiting.objects > 0 {
        say!("  without a lease, and their time has not come: {}", amount(&waiting))?;
    }
    let dead = human(report.dead);
    match dry_run {
        true => say!("  dead in packs: {dead}"),
        false => say!("  dead in packs: {dead} before, {} given back after", human(report.given_back)),
    }
}

fn amount(gone: &Gone) -> String {
    let (objects, shares) = (plural(gone.objects, "object"), plural(gone.shares, "share"));
    format!("{objects} ({shares}, {})", human(gone.bytes))
}

fn text(reason: Reason) -> &'static str {
    match reason {
        Reason::Expired => "lease expired",
        Reason::Cancelled => "lease cancelled",
        Reason::AccountGone => "account gone",
        Reason::NeverLeased => "never leased",
    }
}

fn to_json(path: &str, report: &GcReport) -> serde_json::Value {
    serde_json::json!({
        "path": path, "gone": by_json(&report.gone), "waiting": by_json(&report.waiting),
        "dead_in_packs": report.dead, "given_back": report.given_back,
    })
}

fn by_json(by: &GoneBy) -> serde_json::Value {
    let mut out = serde_json::Map::new();
    for (key, reason) in [
        ("expired", Reason::Expired),
        ("cancelled", Reason::Cancelled),
        ("account_gone", Reason::AccountGone),
        ("never_leased", Reason::NeverLeased),
    ] {
        let gone = by.get(&reason).copied().unwrap_or_default();
        let gone = serde_json::json!({ "objects": gone.objects, "shares": gone.shares, "bytes": gone.bytes });
        out.insert(key.to_owned(), gone);
    }
    out.into()
}
