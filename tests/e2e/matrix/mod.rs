//! What fails × what a program is doing then. Of each cell is asserted: no call takes longer than the time limit, the bytes
//! are right, what follows the fault works, and threads, descriptors and places of the pool are back to where they were.
//!
//! Prints a line for each cell. A row is one mount with two connections and a column of the scripted server one with a single
//! one. After each cell the mount has to say that no place of the pool is lent.

mod calls;
mod cell;
mod clock;
mod real;
pub(crate) mod scripted;

/// Runs each of `rows` in a thread of its own, since they mostly wait, and fails with the whole table if a cell is wrong.
fn assert_table<R: Send>(rows: impl IntoIterator<Item = R>, run: impl Fn(R) -> Vec<cell::Cell> + Sync) {
    let cells: Vec<cell::Cell> = std::thread::scope(|scope| {
        let run = &run;
        let rows: Vec<_> = rows.into_iter().map(|row| scope.spawn(move || run(row))).collect();
        rows.into_iter().flat_map(|row| row.join().expect("what fails in a cell is told in its line")).collect()
    });
    let table: Vec<String> = cells.iter().map(ToString::to_string).collect();
    let table = table.join("\n");
    println!("{table}");
    assert!(!cells.is_empty());
    let wrong = cells.iter().filter(|cell| !cell.complaints.is_empty()).count();
    assert_eq!(wrong, 0, "of {} cells {wrong} are wrong:\n{table}", cells.len());
}
