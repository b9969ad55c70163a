//! Ctrl-C and the wish to end: nothing that the sandbox started outlives it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::signal::unix::{SignalKind, signal};

use crate::Result;
use crate::machine::Power;

/// Ends everything when a signal says so.
#[derive(Clone)]
pub struct Guard(Arc<Inner>);

struct Inner {
    machines: Mutex<Vec<Power>>,
    temporary: Option<PathBuf>,
    shell_open: AtomicBool,
}

impl Guard {
    /// `temporary` is removed at the end.
    pub fn install(temporary: Option<PathBuf>) -> Result<Self> {
        let guard = Self(Arc::new(Inner {
            machines: Mutex::default(),
            temporary,
            shell_open: AtomicBool::new(false),
        }));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut interrupt, mut terminate, mut hangup) = {
            let _context = runtime.enter();
            (
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            )
        };
        let inner = guard.0.clone();
        std::thread::spawn(move || {
            runtime.block_on(async {
                loop {
                    let number = tokio::select! {
                        _ = interrupt.recv() => 2,
                        _ = terminate.recv() => 15,
                        _ = hangup.recv() => 1,
                    };
                    // The terminal sends it to the shell too, which knows what to do.
                    if number == 2 && inner.shell_open.load(Ordering::Relaxed) {
                        continue;
                    }
                    inner.end(number);
                }
            });
        });
        Ok(guard)
    }

    pub fn watch(&self, machine: Power) {
        self.0.machines().push(machine);
    }

    /// While the shell is on the terminal, Ctrl-C is for it.
    pub fn leave_interrupts_to_the_shell(&self, leave: bool) {
        self.0.shell_open.store(leave, Ordering::Relaxed);
    }
}

impl Inner {
    fn machines(&self) -> std::sync::MutexGuard<'_, Vec<Power>> {
        self.machines.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn end(&self, number: i32) -> ! {
        for machine in self.machines().iter() {
            machine.cut();
        }
        if let Some(folder) = &self.temporary {
            // Nothing can be done about what stays behind.
            let _ = std::fs::remove_dir_all(folder);
        }
        std::process::exit(128 + number)
    }
}
