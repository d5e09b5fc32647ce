//! Questions that several ask at the same time, and that are asked of the machine once.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::Session;
use crate::host::{Command, CommandOutput, HostError};

/// An answer is good for so long: who looks for what runs and who waits for changes of it both begin with the same question.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// What was answered last, by the script that asked.
pub(super) type Answers = BTreeMap<&'static str, (Instant, CommandOutput)>;

impl Session {
    /// Asks a script without arguments that changes nothing; who asks while another's question is out shares its answer.
    /// Where there is no link yet, it goes with the greeting.
    ///
    /// # Errors
    /// The machine cannot be reached.
    pub(crate) async fn ask_together(
        &self,
        script: &'static str,
        limit: Duration,
    ) -> Result<CommandOutput, HostError> {
        self.questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(script);
        let link = self.link().await?;
        let mut lately = link.lately.lock().await;
        if let Some((at, answer)) = lately.get(script)
            && at.elapsed() < GOOD_FOR
        {
            return Ok(answer.clone());
        }
        let answer = self.run(&Command::shell(script, &[], limit)).await?;
        lately.insert(script, (Instant::now(), answer.clone()));
        Ok(answer)
    }
}
