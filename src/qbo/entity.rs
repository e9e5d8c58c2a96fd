//! The entities of the accounting API, in one table.

/// What kind of thing an entity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntityKind {
    /// Moves or records money, and carries a `PrivateNote` in which a mark can be planted.
    Transaction,
    /// A name in a list: cannot be deleted, only made inactive (facts 3, A); duplicates are refused by 6240.
    NameList,
    /// Everything else.
    Other,
}

/// An entity of the accounting API: those that webhooks name (facts 6, A), and those that only reads and uploads do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are QBO's")]
pub enum Entity {
    Account,
    Attachable,
    Bill,
    BillPayment,
    Budget,
    Class,
    CompanyCurrency,
    CompanyInfo,
    CreditMemo,
    Currency,
    Customer,
    Department,
    Deposit,
    Employee,
    Estimate,
    ExchangeRate,
    Invoice,
    Item,
    JournalCode,
    JournalEntry,
    Payment,
    PaymentMethod,
    Preferences,
    Purchase,
    PurchaseOrder,
    RefundReceipt,
    SalesReceipt,
    TaxAgency,
    TaxCode,
    TaxRate,
    Term,
    TimeActivity,
    Transfer,
    Vendor,
    VendorCredit,
    /// None of these, or no entity at all.
    Other,
}

use EntityKind::{NameList, Transaction};

/// Entity, name in JSON, segment in the URL, kind; in the order of the enum.
const TABLE: [(Entity, &str, &str, EntityKind); 36] = [
    (Entity::Account, "Account", "account", NameList),
    (
        Entity::Attachable,
        "Attachable",
        "attachable",
        EntityKind::Other,
    ),
    (Entity::Bill, "Bill", "bill", Transaction),
    (
        Entity::BillPayment,
        "BillPayment",
        "billpayment",
        Transaction,
    ),
    (Entity::Budget, "Budget", "budget", EntityKind::Other),
    (Entity::Class, "Class", "class", NameList),
    (
        Entity::CompanyCurrency,
        "CompanyCurrency",
        "companycurrency",
        EntityKind::Other,
    ),
    (
        Entity::CompanyInfo,
        "CompanyInfo",
        "companyinfo",
        EntityKind::Other,
    ),
    (Entity::CreditMemo, "CreditMemo", "creditmemo", Transaction),
    (Entity::Currency, "Currency", "currency", EntityKind::Other),
    (Entity::Customer, "Customer", "customer", NameList),
    (Entity::Department, "Department", "department", NameList),
    (Entity::Deposit, "Deposit", "deposit", Transaction),
    (Entity::Employee, "Employee", "employee", NameList),
    (Entity::Estimate, "Estimate", "estimate", Transaction),
    (
        Entity::ExchangeRate,
        "ExchangeRate",
        "exchangerate",
        EntityKind::Other,
    ),
    (Entity::Invoice, "Invoice", "invoice", Transaction),
    (Entity::Item, "Item", "item", NameList),
    (
        Entity::JournalCode,
        "JournalCode",
        "journalcode",
        EntityKind::Other,
    ),
    (
        Entity::JournalEntry,
        "JournalEntry",
        "journalentry",
        Transaction,
    ),
    (Entity::Payment, "Payment", "payment", Transaction),
    (
        Entity::PaymentMethod,
        "PaymentMethod",
        "paymentmethod",
        NameList,
    ),
    (
        Entity::Preferences,
        "Preferences",
        "preferences",
        EntityKind::Other,
    ),
    (Entity::Purchase, "Purchase", "purchase", Transaction),
    (
        Entity::PurchaseOrder,
        "PurchaseOrder",
        "purchaseorder",
        Transaction,
    ),
    (
        Entity::RefundReceipt,
        "RefundReceipt",
        "refundreceipt",
        Transaction,
    ),
    (
        Entity::SalesReceipt,
        "SalesReceipt",
        "salesreceipt",
        Transaction,
    ),
    (
        Entity::TaxAgency,
        "TaxAgency",
        "taxagency",
        EntityKind::Other,
    ),
    (Entity::TaxCode, "TaxCode", "taxcode", EntityKind::Other),
    (Entity::TaxRate, "TaxRate", "taxrate", EntityKind::Other),
    (Entity::Term, "Term", "term", NameList),
    // A TimeActivity has a Description and no PrivateNote, so no mark can be planted in it.
    (
        Entity::TimeActivity,
        "TimeActivity",
        "timeactivity",
        EntityKind::Other,
    ),
    (Entity::Transfer, "Transfer", "transfer", Transaction),
    (Entity::Vendor, "Vendor", "vendor", NameList),
    (
        Entity::VendorCredit,
        "VendorCredit",
        "vendorcredit",
        Transaction,
    ),
    (Entity::Other, "*", "*", EntityKind::Other),
];

impl Entity {
    /// Every entity that has a name.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE
            .iter()
            .map(|row| row.0)
            .filter(|entity| *entity != Self::Other)
    }

    /// The name in JSON and in queries; `"*"` for [`Entity::Other`].
    #[must_use]
    pub const fn name(self) -> &'static str {
        TABLE[self as usize].1
    }

    /// The segment in URLs; `"*"` for [`Entity::Other`].
    #[must_use]
    pub const fn segment(self) -> &'static str {
        TABLE[self as usize].2
    }

    /// What kind of thing it is.
    #[must_use]
    pub const fn kind(self) -> EntityKind {
        TABLE[self as usize].3
    }

    /// Its place in the table.
    #[must_use]
    pub const fn index(self) -> u8 {
        self as u8
    }

    /// The entity at this place; [`Entity::Other`] beyond the table.
    #[must_use]
    pub fn from_index(index: u8) -> Self {
        TABLE
            .get(usize::from(index))
            .map_or(Self::Other, |row| row.0)
    }

    /// The entity of a URL segment or of a query's `from`, in any case: names there are case-insensitive in queries
    /// (facts 3, A), and a URL in the wrong case must not lose a write its guards.
    #[must_use]
    pub fn named(word: &str) -> Self {
        TABLE
            .iter()
            .find(|row| row.2.eq_ignore_ascii_case(word))
            .map_or(Self::Other, |row| row.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum_and_segments_are_lower_case_names() {
        for (index, (entity, name, segment, _)) in TABLE.into_iter().enumerate() {
            assert_eq!(usize::from(entity.index()), index, "{name}");
            assert_eq!(name.to_ascii_lowercase(), segment);
            assert_eq!(Entity::from_index(entity.index()), entity);
            assert_eq!(Entity::named(name), entity);
        }
    }

    #[test]
    fn every_entity_that_webhooks_name_is_in_the_table() {
        let names = "Account Bill BillPayment Budget Class CreditMemo Currency Customer Department \
            Deposit Employee Estimate Invoice Item JournalCode JournalEntry Payment PaymentMethod \
            Preferences Purchase PurchaseOrder RefundReceipt SalesReceipt TaxAgency Term \
            TimeActivity Transfer Vendor VendorCredit";
        for name in names.split_whitespace() {
            assert_eq!(Entity::named(name).name(), name);
        }
        assert_eq!(Entity::all().count(), 35);
    }
}
