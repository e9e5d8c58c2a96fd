//! Which properties a body of each kind may hold, from Intuit's reference. Pure.

use super::entities::Kind;

impl Kind {
    /// The properties of its own, apart by spaces.
    const fn properties(self) -> &'static str {
        match self {
            Self::Account => {
                "Name AccountType AccountSubType Classification Active Description AcctNum \
                 CurrentBalance FullyQualifiedName SubAccount ParentRef"
            }
            Self::Vendor => {
                "DisplayName Title GivenName MiddleName FamilyName Suffix CompanyName \
                 PrintOnCheckName Active Balance BillAddr PrimaryPhone PrimaryEmailAddr WebAddr \
                 AcctNum Vendor1099 TaxIdentifier TermRef BillRate Mobile Fax AlternatePhone \
                 Notes"
            }
            Self::Customer => {
                "DisplayName Title GivenName MiddleName FamilyName Suffix CompanyName \
                 PrintOnCheckName FullyQualifiedName Active Balance BalanceWithJobs Job \
                 BillWithParent ParentRef Level Taxable PreferredDeliveryMethod BillAddr \
                 ShipAddr PrimaryPhone PrimaryEmailAddr WebAddr Notes Mobile Fax AlternatePhone \
                 SalesTermRef PaymentMethodRef ResaleNum IsProject ClientEntityId"
            }
            Self::Bill => {
                "VendorRef APAccountRef Line TotalAmt Balance DueDate SalesTermRef VendorAddr \
                 GlobalTaxCalculation TxnTaxDetail HomeBalance"
            }
            Self::BillPayment => {
                "VendorRef APAccountRef PayType CheckPayment CreditCardPayment Line TotalAmt \
                 ProcessBillPayment VendorAddr"
            }
            Self::Invoice => {
                "CustomerRef CustomerMemo Line TotalAmt Balance DueDate Deposit TxnTaxDetail \
                 BillAddr ShipAddr BillEmail EmailStatus PrintStatus SalesTermRef \
                 ApplyTaxAfterDiscount AllowOnlineACHPayment AllowOnlineCreditCardPayment \
                 AllowOnlinePayment AllowIPNPayment CustomField ShipDate TrackingNum \
                 HomeBalance GlobalTaxCalculation InvoiceLink FreeFormAddress ShipFromAddr"
            }
            Self::Payment => {
                "CustomerRef ARAccountRef DepositToAccountRef Line TotalAmt UnappliedAmt \
                 ProcessPayment PaymentMethodRef PaymentRefNum CreditCardPayment"
            }
        }
    }

    /// Whether a body of this kind may hold this property.
    pub(super) fn has(self, property: &str) -> bool {
        const COMMON: &str = "Id SyncToken MetaData domain sparse status CurrencyRef";
        const TRANSACTION: &str =
            "DocNumber PrivateNote TxnDate LinkedTxn DepartmentRef ExchangeRate TxnStatus ClassRef";
        let among = |names: &str| names.split_ascii_whitespace().any(|name| name == property);
        among(COMMON) || (self.party().is_some() && among(TRANSACTION)) || among(self.properties())
    }

    /// Whether the server computes this one: what a client sends for it is ignored.
    pub(super) fn computes(property: &str) -> bool {
        matches!(
            property,
            "Id" | "SyncToken"
                | "MetaData"
                | "domain"
                | "sparse"
                | "status"
                | "LinkedTxn"
                | "Balance"
                | "TotalAmt"
                | "UnappliedAmt"
                | "HomeBalance"
                | "BalanceWithJobs"
                | "CurrentBalance"
        )
    }
}
