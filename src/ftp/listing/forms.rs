//! The table of the forms of `LIST`, and the choice among them.

use crate::ftp::listing::line::Form;
use crate::ftp::listing::{
    dos, eplf, facts, mac, mvs, netware, nonstop, octal, os2, os9, os400, pds, supertcp, unix, vms, vshell, vxworks,
    wftpd, zvm,
};
use crate::ftp::time::ListClock;

/// The form that understands most lines, `None` if none understands any; of equals the preferred one, or else the first,
/// as the table has the commonest first.
pub(super) fn best(lines: &[u8], clock: &ListClock, preferred: Option<&str>) -> Option<&'static Form> {
    let all = each(lines).count();
    let preferred = FORMS.iter().filter(|form| Some(form.name) == preferred);
    let mut best = (0, None);
    for form in preferred.chain(FORMS) {
        let understood = each(lines).filter(|line| (form.read)(line, clock).is_some()).count();
        if understood > best.0 {
            best = (understood, Some(form));
        }
        if understood == all {
            break;
        }
    }
    best.1
}

pub(super) fn each(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty())
}

/// The forms of `LIST` that are known, the commonest first.
const FORMS: &[Form] = &[
    // Understands no more than Unix does, and better.
    mac::FORM,
    unix::FORM,
    dos::MONTH_FIRST,
    dos::DAY_FIRST,
    facts::FORM,
    os400::FORM,
    os400::YEAR_FIRST,
    os400::DAY_FIRST,
    mvs::FORM,
    pds::FORM,
    vms::FORM,
    netware::FORM,
    eplf::FORM,
    nonstop::FORM,
    os2::FORM,
    vshell::FORM,
    vxworks::FORM,
    zvm::FORM,
    os9::FORM,
    octal::FORM,
    wftpd::FORM,
    supertcp::FORM,
];
