//! What processes of this machine have used of its processors, and how busy it is. Linux only, as /proc is.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::unistd::{SysconfVar, sysconf};

/// The processor time of all these processes since each of them began, in their own code and in the kernel's.
pub(crate) fn processor_time(ids: &[u32]) -> Result<Duration> {
    let ticks_per_second = sysconf(SysconfVar::CLK_TCK)?.context("this system has no clock ticks")?;
    let mut ticks = 0;
    for id in ids {
        let path = format!("/proc/{id}/stat");
        let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        ticks += ticks_of(&stat).with_context(|| format!("{path} is not what it should be: {stat}"))?;
    }
    Ok(Duration::from_secs_f64(ticks as f64 / ticks_per_second as f64))
}

/// The 14th and the 15th field, proc(5). The second, the program's name, may have spaces and parentheses in it.
fn ticks_of(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(") ")?;
    let mut fields = behind_name.split(' ').skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// How many processes have wanted to run in the last minute, on average.
pub(crate) fn load_average() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg").context("cannot read /proc/loadavg")?;
    Ok(text.split(' ').next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn both_kinds_of_time_are_counted_whatever_the_program_is_called() {
        let stat = "17 (a ) b) S 1 17 17 0 -1 4194304 90 91 92 93 250 31 94 95 20 0 1 0 100 1000 10\n";
        assert_eq!(ticks_of(stat), Some(281));
        assert_eq!(ticks_of("17 (a) S 1 2 3"), None);
        assert_eq!(ticks_of(""), None);
    }

    #[test]
    fn this_process_has_used_some() {
        let own = [std::process::id()];
        let (before, began) = (processor_time(&own).expect("there is /proc"), Instant::now());
        while processor_time(&own).expect("there is /proc") == before {
            assert!(began.elapsed() < Duration::from_secs(20), "this loop takes none");
        }
    }
}
