//! How a daemon stands in line for the processor.

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id, thread_schedule_policy,
};

/// What this crate's scale of 0 to 99 calls niceness 0.
const NICE_0: u8 = 49;

/// Lets this thread and those that it begins wait their turn when they wake up (`SCHED_BATCH`, sched(7)): a daemon is woken by every
/// small request, and who is taken off the processor each time works in vain. Whoever chose another policy or niceness knows better.
/// Where it is not to be had, nothing is lost.
pub(crate) fn wait_in_line() {
    let usual = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);
    let plain = rustix::process::getpriority_process(None) == Ok(0);
    if !plain || thread_schedule_policy() != Ok(usual) {
        return;
    }
    let Ok(nice) = ThreadPriorityValue::try_from(NICE_0) else { return };
    let batch = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
    let set = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Crossplatform(nice), batch);
    if let Err(error) = set {
        tracing::debug!(?error, "the scheduling policy stays as it is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_waits_in_line_and_is_no_nicer_for_it() {
        let nice = || rustix::process::getpriority_process(None);
        let before = nice();
        let thread = std::thread::spawn(move || {
            wait_in_line();
            (thread_schedule_policy(), nice())
        });
        let (policy, after) = thread.join().expect("it does not panic");
        assert_eq!(after, before);
        if before == Ok(0) {
            let batch = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
            assert_eq!(policy, Ok(batch));
        }
    }
}
