//! Writers that a server is killed under, and the account of what it owes them afterwards.
//!
//! ```text
//!   write begun ──> in doubt ──answered──────> acknowledged: must be found, or a newer one
//!                      │    ──refused────────> never happened
//!                      └────server killed────> may be found, or not; never half
//!   server back ──> everything compared; what is found is what the next round starts from
//! ```
//!
//! | module | does |
//! |---|---|
//! | [`stamp`] | gives every write a number of its own, spread over many fields of its policy |
//! | [`ledger`] | keeps the account, and compares it with what is found |
//! | [`writers`] | make the writes, over real connections |
//! | [`storm`] | kills a server under them, again and again |
//! | [`damage`] | does to files what disks do |

pub mod damage;
pub mod ledger;
pub mod stamp;
pub mod storm;
pub mod writers;
