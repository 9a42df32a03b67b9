//! What an agent is told to do: `agent.toml`.

use std::time::Duration;

use serde::Deserialize;

use crate::check::Grade;

/// Grades that an agent checks by, the weakest first, as they are called in its settings and reports.
pub(super) const GRADES: [(&str, Grade); 2] = [("claimed", Grade::Claimed), ("full", Grade::Full)];

/// The shortest time between two checks of a root.
const SHORTEST: Duration = Duration::from_secs(1);

/// How an agent looks after what it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentSettings {
    /// How often to check by each grade. A check by a stronger grade counts as one by every weaker.
    pub every: Vec<(Grade, Duration)>,
    /// Shares of an object that may be missing before it is repaired. One on too few servers is repaired in any case.
    pub spare: usize,
    /// Whether to lease everything for the agent's account.
    pub renew: bool,
    /// How long a lease lasts from when it was last renewed, of the time that servers run; `None`: while they hear of the account.
    pub lease: Option<Duration>,
    /// Whether to keep copies of slots that lack members.
    pub copies: bool,
    /// By how many hundredths of its length each wait differs at random, up or down: agents that began together drift apart.
    pub jitter: u32,
    /// How long to wait after a check that could not be made; twice as long after the next, up to the usual time.
    pub retry: Duration,
    /// Where metrics go besides the agent's own directory.
    pub metrics: Option<std::path::PathBuf>,
}

impl Default for AgentSettings {
    fn default() -> Self {
        let day = Duration::from_secs(86_400);
        Self {
            every: vec![(Grade::Claimed, day), (Grade::Full, 30 * day)],
            spare: 0,
            renew: true,
            lease: Some(90 * day),
            copies: true,
            jitter: 10,
            retry: Duration::from_secs(300),
            metrics: None,
        }
    }
}

/// Why settings cannot be followed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    every: std::collections::BTreeMap<String, String>,
    spare: u16,
    renew: bool,
    lease: Option<String>,
    copies: bool,
    jitter: u32,
    retry: String,
    metrics: Option<std::path::PathBuf>,
}

impl Default for File {
    fn default() -> Self {
        let AgentSettings { spare, renew, copies, jitter, .. } = AgentSettings::default();
        let spare = u16::try_from(spare).unwrap_or(0);
        let (every, retry) = (Default::default(), "5m".into());
        Self { every, spare, renew, lease: None, copies, jitter, retry, metrics: None }
    }
}

impl AgentSettings {
    /// What stands in an `agent.toml`. What it does not name is as by default.
    ///
    /// # Errors
    ///
    /// [`SettingsError`]: unknown keys, times that are none or too short, no grade left.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let file: File = toml::from_str(text).map_err(|error| SettingsError(error.to_string()))?;
        let mut every = Self::default().every;
        for (name, time) in &file.every {
            let Some((_, grade)) = GRADES.into_iter().find(|(known, _)| known == name) else {
                return Err(SettingsError(format!("there is no grade {name:?} in [every]")));
            };
            every.retain(|(other, _)| *other != grade);
            if time != "never" {
                every.push((grade, parse_time(time)?));
            }
        }
        every.sort();
        if every.is_empty() {
            return Err(SettingsError("every grade in [every] is \"never\"".to_owned()));
        }
        if file.jitter > 50 {
            return Err(SettingsError("jitter is at most 50, in hundredths of a wait".to_owned()));
        }
        let least = every.iter().map(|(_, time)| *time).min().unwrap_or(SHORTEST) * 3;
        let lease = match file.lease.as_deref() {
            None => Self::default().lease.map(|usual| usual.max(least)),
            Some("alive") => None,
            Some(text) => Some(parse_time(text)?),
        };
        if lease.is_some_and(|lease| lease < least) {
            return Err(SettingsError(
                "lease is less than three times the time between two checks".to_owned(),
            ));
        }
        Ok(Self {
            every,
            spare: file.spare.into(),
            renew: file.renew,
            lease,
            copies: file.copies,
            jitter: file.jitter,
            retry: parse_time(&file.retry)?,
            metrics: file.metrics,
        })
    }

    /// The shortest time between checks.
    pub(super) fn shortest(&self) -> Duration {
        self.every.iter().map(|(_, time)| *time).min().unwrap_or(SHORTEST)
    }
}

fn parse_time(text: &str) -> Result<Duration, SettingsError> {
    match humantime::parse_duration(text) {
        Ok(time) if time >= SHORTEST && time <= Duration::from_secs(10 * 366 * 86_400) => Ok(time),
        Ok(_) => Err(SettingsError(format!("{text:?} is not within a second and ten years"))),
        Err(error) => Err(SettingsError(format!("{text:?} is no time like 12h or 30d: {error}"))),
    }
}

/// The name of a grade, in settings, reports and metrics.
pub(super) fn grade_name(grade: Grade) -> &'static str {
    GRADES.into_iter().find(|(_, known)| *known == grade).map_or("unseen", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_as_by_default() {
        assert_eq!(AgentSettings::parse("").unwrap_or_default(), AgentSettings::default());
        let text = "spare = 2\nrenew = false\nretry = \"1h\"\n[every]\nclaimed = \"6h\"\nfull = \"never\"\n";
        let settings = AgentSettings::parse(text).expect("it is well formed");
        assert_eq!(settings.every, [(Grade::Claimed, Duration::from_secs(6 * 3600))]);
        assert_eq!((settings.spare, settings.renew, settings.copies), (2, false, true));
        assert_eq!(settings.retry, Duration::from_secs(3600));
        let lease = |text| AgentSettings::parse(text).map(|settings| settings.lease).unwrap_or_default();
        assert_eq!(lease("lease = \"5d\""), Some(Duration::from_secs(5 * 86_400)));
        assert_eq!(AgentSettings::parse("lease = \"alive\"").map(|settings| settings.lease).ok(), Some(None));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            "spares = 1",
            "[every]\nhourly = \"1h\"",
            "[every]\nclaimed = \"soon\"",
            "[every]\nclaimed = \"0s\"",
            "[every]\nclaimed = \"never\"\nfull = \"never\"",
            "jitter = 90",
            "retry = \"1000y\"",
            "lease = \"2d\"",
            "lease = \"soon\"",
        ] {
            assert!(AgentSettings::parse(text).is_err(), "{text}");
        }
    }
}
