//! What a person does, the same in front of every line-up.
//!
//! A user presses "pay", sometimes twice. Told "failed", they think and press again, a few times, each time after twice
//! as long. Told "pending", they look again later. Left without an answer because our process died, they press again.
//! It is always the same operation, under the same key.

use super::stage::Stage;
use super::told::Told;
use crate::error::BoxError;
use std::sync::Arc;

pub(super) async fn act(stage: Arc<Stage>, at: usize) -> Result<(), BoxError> {
    let operation = stage.plan.operations[at];
    let mut rng = fastrand::Rng::with_seed(operation.seed);
    match operation.second_click {
        None => stage.press(at).await?,
        Some(gap) => {
            let second = async {
                stage.clock.sleep(gap).await;
                stage.press(at).await
            };
            let (first, second) = tokio::join!(stage.press(at), second);
            first.and(second)?;
        }
    }
    let user = stage.scenario.user;
    let mut presses = 0;
    loop {
        let now = stage.clock.wall();
        let Some(told) = stage.log(|log| log.answers[at].belief(now)) else {
            return Ok(());
        };
        let wait = match told {
            Told::Succeeded | Told::Rejected => return Ok(()),
            Told::Failed | Told::Refused if presses == user.presses_again => return Ok(()),
            Told::Failed | Told::Refused => {
                presses += 1;
                user.think.get() * 2_u32.saturating_pow(presses - 1)
            }
            Told::NoAnswer => user.think.get(),
            Told::Pending | Told::Parked => user.asks_every.get(),
        };
        let next = stage.clock.now() + wait.mul_f64(0.5 + rng.f64());
        if next >= stage.closes {
            return last_word(&stage, at, told).await;
        }
        stage.clock.sleep_until(next).await;
        match told {
            Told::Pending | Told::Parked => {
                stage.ask(at).await?;
            }
            _ => stage.press(at).await?,
        }
    }
}

/// The run closes: whoever still waits asks once more; nobody presses again.
async fn last_word(stage: &Stage, at: usize, told: Told) -> Result<(), BoxError> {
    if !told.denies() && stage.clock.now() < stage.closes {
        stage.clock.sleep_until(stage.closes).await;
        stage.ask(at).await?;
    }
    Ok(())
}
