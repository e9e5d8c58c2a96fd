//! What proves that an answer means what it should: one table, by operation. Pure.

use super::entity::Entity;
use super::fault::fault_in;
use super::json::Json;
use super::route::Operation;

/// What the request expects of its answer; fits [`Route::kind`](crate::classify::Route::kind).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) operation: Operation,
    pub(crate) entity: Entity,
    /// Of a batch: how many items it has. Zero, which no answer can satisfy, where that is not known.
    pub(crate) items: u16,
}

/// The operations in the order of their numbers.
const OPERATIONS: [Operation; 14] = [
    Operation::Other,
    Operation::Create,
    Operation::Update,
    Operation::Delete,
    Operation::Void,
    Operation::Read,
    Operation::Query,
    Operation::Cdc,
    Operation::Report,
    Operation::Batch { writes: true },
    Operation::Batch { writes: false },
    Operation::Send,
    Operation::Upload,
    Operation::Pdf,
];

impl Expected {
    pub(crate) fn encode(self) -> u32 {
        let operation = OPERATIONS
            .iter()
            .zip(0_u8..)
            .find_map(|(known, number)| (*known == self.operation).then_some(number));
        u32::from_le_bytes([
            operation.unwrap_or(0),
            self.entity.index(),
            self.items.to_le_bytes()[0],
            self.items.to_le_bytes()[1],
        ])
    }

    pub(crate) fn decode(kind: u32) -> Self {
        let [operation, entity, low, high] = kind.to_le_bytes();
        Self {
            operation: OPERATIONS
                .get(usize::from(operation))
                .copied()
                .unwrap_or(Operation::Other),
            entity: Entity::from_index(entity),
            items: u16::from_le_bytes([low, high]),
        }
    }

    /// Whether `answer` proves the effect of a write.
    pub(crate) fn is_proven_by(self, answer: Json<'_>) -> bool {
        match self.operation {
            Operation::Create | Operation::Update | Operation::Send | Operation::Other => {
                self.subject(answer).is_some_and(stands)
            }
            Operation::Delete => self.subject(answer).is_some_and(is_deleted),
            Operation::Void => self.subject(answer).is_some_and(is_voided),
            Operation::Batch { .. } => {
                let items = answer.get("BatchItemResponse");
                count(items, item_stands) == Some(usize::from(self.items)) && self.items > 0
            }
            Operation::Upload => {
                let stored = |item: Json<'_>| item.get("Attachable").is_some_and(has_id);
                count(answer.get("AttachableResponse"), stored).is_some_and(|stored| stored > 0)
            }
            Operation::Read
            | Operation::Query
            | Operation::Cdc
            | Operation::Report
            | Operation::Pdf => false,
        }
    }

    /// Whether `answer` to a read is of the expected shape.
    pub(crate) fn is_answered_by(self, answer: Json<'_>) -> bool {
        let has = |name| answer.get(name);
        match self.operation {
            Operation::Read => has(self.entity.name()).is_some_and(Json::is_object),
            Operation::Query => has("QueryResponse").is_some_and(Json::is_object),
            Operation::Cdc => has("CDCResponse").is_some_and(Json::is_array),
            Operation::Report => has("Header").is_some_and(Json::is_object),
            Operation::Batch { .. } => has("BatchItemResponse").is_some_and(Json::is_array),
            Operation::Other => true,
            _ => false,
        }
    }

    /// The entity in a single-entity answer. Where the request's is not known: the only object there is.
    fn subject(self, answer: Json<'_>) -> Option<Json<'_>> {
        if self.entity != Entity::Other {
            return answer
                .get(self.entity.name())
                .filter(|json| json.is_object());
        }
        let mut objects = answer
            .members()
            .map(|(_, value)| value)
            .filter(|json| json.is_object());
        let only = objects.next()?;
        objects.next().is_none().then_some(only)
    }
}

/// How many items the array has, if all of them are `good`.
fn count(array: Option<Json<'_>>, good: impl Fn(Json<'_>) -> bool) -> Option<usize> {
    let mut number = 0;
    for item in array?.items() {
        if fault_in(item).is_some() || !good(item) {
            return None;
        }
        number += 1;
    }
    Some(number)
}

/// A good item of a batch: an entity that stands or was deleted, or a query's answer.
fn item_stands(item: Json<'_>) -> bool {
    item.members().any(|(name, value)| {
        name.is("QueryResponse") || value.is_object() && (stands(value) || is_deleted(value))
    })
}

/// Id and SyncToken, and not told to be gone.
fn stands(entity: Json<'_>) -> bool {
    has_id(entity) && filled(entity.get("SyncToken")) && entity.get("status").is_none()
}

fn has_id(entity: Json<'_>) -> bool {
    filled(entity.get("Id"))
}

fn filled(text: Option<Json<'_>>) -> bool {
    text.and_then(Json::text)
        .is_some_and(|text| !text.is_empty())
}

/// Facts 4, A: `{"domain":"QBO","status":"Deleted","Id":".."}`.
pub(crate) fn is_deleted(entity: Json<'_>) -> bool {
    has_id(entity)
        && entity
            .get("status")
            .is_some_and(|status| status.is("Deleted"))
}

/// Facts 4 and 8, A: amounts 0, Balance 0. The "Voided" in the note is not asked for: its language is the company's (D).
pub(crate) fn is_voided(entity: Json<'_>) -> bool {
    let zero = |json: Json<'_>| json.number() == Some(0.0);
    stands(entity)
        && entity.get("TotalAmt").is_some_and(zero)
        && ["Balance", "UnappliedAmt"]
            .into_iter()
            .filter_map(|name| entity.get(name))
            .all(zero)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_survives_its_number() {
        for operation in OPERATIONS {
            for entity in Entity::all().chain([Entity::Other]) {
                let expected = Expected {
                    operation,
                    entity,
                    items: 0x1234,
                };
                assert_eq!(Expected::decode(expected.encode()), expected);
            }
        }
        assert_eq!(Expected::decode(u32::MAX).operation, Operation::Other);
    }
}
