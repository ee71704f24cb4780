//! Programs as people use them, writing through a mount. What they leave is compared on the server's disk, with what they
//! leave when they work locally or with what they were given.

use crate::cases::{Case, Fresh, on_every_empty_server};
use crate::support::run::shell;
use std::fs;
use std::path::Path;

on_every_empty_server! {
    git_works_in_it,
    rsync_copies_up_and_down,
    tar_and_cp_copy_trees_with_modes_and_times,
    editors_save,
    small_tools_change_files,
    trees_are_made_and_removed,
    sqlite_works_in_it,
    archives_are_written_and_unpacked,
}

fn git_works_in_it(case: &Case) {
    through_a_mount(case, GIT);
}

fn rsync_copies_up_and_down(case: &Case) {
    through_a_mount(case, RSYNC);
}

fn tar_and_cp_copy_trees_with_modes_and_times(case: &Case) {
    through_a_mount(case, TAR_AND_CP);
}

fn editors_save(case: &Case) {
    through_a_mount(case, EDITORS);
}

fn small_tools_change_files(case: &Case) {
    through_a_mount(case, SMALL_TOOLS);
}

fn trees_are_made_and_removed(case: &Case) {
    through_a_mount(case, TREES);
}

fn sqlite_works_in_it(case: &Case) {
    through_a_mount(case, SQLITE);
}

fn archives_are_written_and_unpacked(case: &Case) {
    through_a_mount(case, ARCHIVES);
}

fn through_a_mount(case: &Case, script: &str) {
    let mount = case.mount_rw(&[]);
    run(&mount.point, &case.disk, &mount.beside("local"), script);
    mount.end();
}

/// The scripts expect what they may: they hold where no mount is.
#[test]
fn the_scripts_hold_locally() {
    for script in [GIT, RSYNC, TAR_AND_CP, EDITORS, SMALL_TOOLS, TREES, SQLITE, ARCHIVES] {
        let fresh = Fresh::new();
        let local = fresh.path.with_file_name("local");
        fs::create_dir(&local).unwrap();
        run(&fresh.path, &fresh.path, &local, script);
    }
}

/// Runs `script` with bash: `$1` is the mount, where it starts, `$2` the server's disk, `$3` an empty local directory.
fn run(point: &Path, disk: &Path, local: &Path, script: &str) {
    let ran = shell(&format!("{TOOLS}\ncd \"$1\"\n{script}"), &[point, disk, local]);
    let said: Vec<&str> = ran.stdout.lines().collect();
    let end = said[said.len().saturating_sub(40)..].join("\n");
    assert!(ran.status == 0, "{end}\n{}exit {}", ran.stderr, ran.status);
}

/// `tree DIR` makes files of many sizes, modes and times; `same A B` compares names and content, `same_metadata A B` modes
/// and times of files besides; `fails COMMAND` expects it to fail; `settles NAME DIR` waits until it is alone in it, as what an
/// upload left that nobody wanted is removed in the background.
const TOOLS: &str = r#"
exec 2>&1
PS4='+ '; set -x
export LC_ALL=C HOME="$3" PYTHONDONTWRITEBYTECODE=1
tree() {
    mkdir -p "$1/some dir/deeper" "$1/empty"
    for size in 0 1 999 4096 4097 70000 1500000; do
        head -c "$size" /dev/urandom >"$1/some dir/$size"
    done
    for number in $(seq 20); do echo "file $number" >"$1/some dir/deeper/$number.txt"; done
    chmod 600 "$1/some dir/999"; chmod 755 "$1/some dir/4096"; chmod 444 "$1/some dir/4097"
    touch -d '2001-02-03 04:05:06' "$1/some dir/1"; touch -d '2024-02-29 12:00:00' "$1/some dir/70000"
}
fails() { if "$@"; then return 1; fi; }
settles() {
    for _ in $(seq 100); do [ "$(ls -A "$2")" != "$1" ] || return 0; sleep 0.1; done
    ls -A "$2"; return 1
}
same() { diff -r "$1" "$2"; }
same_metadata() {
    same "$1" "$2"
    diff <(cd "$1" && find . -type f -exec stat -c '%a %Y %s %n' {} + | sort) \
        <(cd "$2" && find . -type f -exec stat -c '%a %Y %s %n' {} + | sort)
}
"#;

const GIT: &str = r#"
git config --global user.name Tester; git config --global user.email tester@example.org
git config --global init.defaultBranch main; git config --global --add safe.directory '*'
git config --global gc.auto 0
git init -q repository; cd repository
for number in $(seq 12); do echo "line $number" >"$number.txt"; done
git add .; git commit -qm first
sed -i 's/line/changed line/' 3.txt; git mv 4.txt four.txt; git rm -q 5.txt
git commit -qam second; git tag v1; git branch side
git status --porcelain >"$3/status"; [ ! -s "$3/status" ]
git gc -q; git fsck --full --strict
cd "$1"; git clone -q repository clone; git clone -q --no-local "$1/repository" "$3/out"
# By git on the disk itself, which is all that the server has.
(cd "$2/repository" && git fsck --full --strict && git -c core.fileMode=false diff HEAD --quiet)
cd clone; git log --oneline | wc -l | grep -qx 2; echo more >more.txt; git add more.txt; git commit -qm third
git push -q origin HEAD:refs/heads/pushed; git checkout -q -b other HEAD~1; git merge -q main
git fsck --full; (cd "$2/repository" && git log --oneline pushed | grep third)
same "$3/out/four.txt" "$1/repository/four.txt"
"#;

const RSYNC: &str = r#"
tree "$3/tree"
rsync -a "$3/tree/" "$1/up/"; same_metadata "$3/tree" "$2/up"
# Nothing is left to do.
rsync -a --itemize-changes --dry-run --omit-dir-times "$3/tree/" "$1/up/" >"$3/changes"; [ ! -s "$3/changes" ]
rsync -a "$1/up/" "$3/down/"; same_metadata "$3/tree" "$3/down"
printf changed >>"$3/tree/some dir/70000"; rm "$3/tree/some dir/deeper/7.txt"
printf 'in place' | dd of="$3/tree/some dir/1500000" bs=1 seek=700000 conv=notrunc status=none
touch -d '2020-01-01 00:00:00' "$3/tree/some dir/1500000"
rsync -a --inplace --no-whole-file --delete "$3/tree/" "$1/up/"; same_metadata "$3/tree" "$2/up"
rsync -a --inplace --append "$3/tree/" "$1/up/"; same_metadata "$3/tree" "$2/up"
[ -z "$(find "$2" -name '.*' -type f)" ]
"#;

const TAR_AND_CP: &str = r#"
tree "$3/tree"
tar -C "$3" -cf - tree | tar -C "$1" --same-permissions -xf -; same_metadata "$3/tree" "$2/tree"
cp -a "$3/tree" "$1/copy"; same_metadata "$3/tree" "$2/copy"
cp -a "$1/copy" "$1/within"; same "$3/tree" "$2/within"
cp -r "$1/within" "$3/back"; same "$3/tree" "$3/back"
tar -cf "$1/archive.tar" -C "$3" tree; mkdir "$3/unpacked"; tar -C "$3/unpacked" -xf "$2/archive.tar"
same_metadata "$3/tree" "$3/unpacked/tree"
tar -rf "$1/archive.tar" -C "$3" back/empty; tar -tf "$2/archive.tar" | grep -qx 'back/empty/'
install -m 750 "$3/tree/some dir/999" "$1/installed"; [ "$(stat -c %a "$2/installed")" = 750 ]
[ "$(stat -c %a "$1/installed")" = 750 ]
"#;

const EDITORS: &str = r#"
printf 'one\ntwo\nthree\n' >text; chmod 640 text
sed -i 's/two/TWO/' text; [ "$(cat "$2/text")" = $'one\nTWO\nthree' ]
[ "$(stat -c %a "$2/text")" = 640 ]
# As vim does with backupcopy=no: the old one becomes the backup, a new one takes its name.
mv text text~; printf 'new\n' >text; sync text; chmod 640 text; rm text~; [ "$(cat "$2/text")" = new ]
# With backupcopy=yes: in place.
cp text text~; printf 'in place, longer\n' >text; rm text~; [ "$(cat "$2/text")" = 'in place, longer' ]
# As office programs do: beside it, then over it.
printf 'office\n' >.~lock.text#; printf 'saved\n' >lu123.tmp; mv lu123.tmp text; rm .~lock.text#
[ "$(cat "$2/text")" = saved ]
vim -u NONE -n -es +'s/saved/edited by vim/' +wq text </dev/null; [ "$(cat "$2/text")" = 'edited by vim' ]
vim -u NONE -es +'set backup writebackup backupcopy=no' +'s/edited/again/' +wq text </dev/null
[ "$(cat "$2/text")" = 'again by vim' ]; [ "$(cat "$2/text~")" = 'edited by vim' ]; rm text~
# It needs a terminal; its keys are: text, ^O and Enter to save, ^X to leave.
nano() {
    TERM=xterm /usr/bin/python3 -c 'import os, pty, sys
process, terminal = pty.fork()
if process == 0:
    os.execvp("nano", ["nano", "--ignorercfiles", *sys.argv[2:]])
os.read(terminal, 1)
os.write(terminal, sys.argv[1].encode() + b"\x0f\r\x18")
try:
    while os.read(terminal, 4096):
        pass
except OSError:
    pass
sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))' "$@"
}
nano 'nano: ' text; [ "$(cat "$2/text")" = 'nano: again by vim' ]
nano 'once more, ' --backup text; [ "$(cat "$2/text")" = 'once more, nano: again by vim' ]
[ "$(cat "$2/text~")" = 'nano: again by vim' ]; rm text~
nano new newly; [ "$(cat "$2/newly")" = new ]; rm newly
settles text "$2"; [ "$(ls -A "$1")" = text ]
"#;

const SMALL_TOOLS: &str = r#"
for place in "$1" "$3"; do
    cd "$place"
    printf 0123456789 >file
    printf ABC | dd of=file bs=1 seek=4 conv=notrunc status=none
    for number in 1 2 3; do echo "appended $number" >>file; done
    head -c 200000 /dev/zero | tr '\0' z >large; echo end >>large; echo more >>large
    dd if=/dev/zero of=large bs=1000 seek=50 count=3 conv=notrunc status=none
    truncate -s 100 short; truncate -s +50 short; cp large cut; truncate -s 1234 cut; : >cut2; truncate -s -4 large
    printf 'x' | dd of=sparse bs=1 seek=300000 status=none
    seq 1000 | tee tee >/dev/null; seq 500 | tee -a tee >/dev/null; sort -rn tee -o tee
    cp file moved; mv moved moved2; mv moved2 "with space"; echo over >target; mv -f "with space" target
    mv -n file target || true
    cp large large2; cat file >>large2; shred -n 1 short 2>/dev/null; : >short
    split -b 50000 large part.; cat part.* | cmp - large
    exec 5<>both; echo hello >&5; read -r -u 5 line || true; exec 5>&-
    patch -s file <<'PATCH' || true
--- file
+++ file
@@ -1,2 +1,2 @@
-0123ABC789appended 1
+patched
 appended 2
PATCH
    cd "$1"
done
same "$1" "$3"; same "$2" "$3"
touch -d '2003-04-05 06:07:08' file; [ "$(stat -c %Y "$1/file")" = "$(date -d '2003-04-05 06:07:08' +%s)" ]
[ "$(stat -c %Y "$2/file")" = "$(date -d '2003-04-05 06:07:08' +%s)" ]
chmod 700 file; [ "$(stat -c %a "$1/file")" = 700 ]; [ "$(stat -c %a "$2/file")" = 700 ]
before=$(date +%s); touch file; [ "$(stat -c %Y "$2/file")" -ge "$((before - 1))" ]; touch created; [ -e "$2/created" ]
"#;

const TREES: &str = r#"
mkdir -p a/b/c/d/e; [ -d "$2/a/b/c/d/e" ]; fails mkdir a; mkdir -p a/b
for number in $(seq 30); do echo "$number" >"a/b/$number"; done
ls a/b | wc -l | grep -qx 31; mv a/b a/moved; [ "$(cat a/moved/17)" = 17 ]; [ ! -e a/b ]; [ -d "$2/a/moved/c/d/e" ]
fails rmdir a; rmdir a/moved/c/d/e; [ ! -e "$2/a/moved/c/d/e" ]
mkdir x; mv a/moved x/in; fails mv x x/in; ls x/in | wc -l | grep -qx 31
find x -name '1*' -delete; ls "$2/x/in" | wc -l | grep -qx 20
mkdir -- 'ümlaut dir' -dash; echo q >'ümlaut dir/"quoted" [a]*?;'; [ "$(cat "$2/ümlaut dir/\"quoted\" [a]*?;")" = q ]
rm -r -- x a 'ümlaut dir' -dash; [ -z "$(ls -A "$2")" ]; [ -z "$(ls -A "$1")" ]
"#;

const SQLITE: &str = r#"
/usr/bin/python3 - "$1/data.db" <<'PYTHON'
import sqlite3, sys
for mode in ("delete", "truncate", "persist"):
    database = sqlite3.connect(sys.argv[1])
    database.execute(f"pragma journal_mode={mode}")
    database.execute("create table if not exists t (a integer primary key, b text)")
    for number in range(5):
        with database:
            database.executemany("insert into t (b) values (?)", [(f"{mode} {number} {i}" * 20,) for i in range(40)])
    try:
        with database:
            database.execute("delete from t")
            raise RuntimeError
    except RuntimeError:
        pass
    database.close()
database = sqlite3.connect(sys.argv[1])
with database:
    database.execute("delete from t where a % 2")
database.execute("vacuum")
assert database.execute("pragma integrity_check").fetchone() == ("ok",)
database.close()
PYTHON
/usr/bin/python3 - "$2/data.db" <<'PYTHON'
import sqlite3, sys
database = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro&immutable=1", uri=True)
assert database.execute("pragma integrity_check").fetchone() == ("ok",)
assert database.execute("select count(*) from t").fetchone() == (300,), database.execute("select count(*) from t").fetchone()
PYTHON
"#;

const ARCHIVES: &str = r#"
tree "$3/tree"
(cd "$3" && /usr/bin/python3 -m zipfile -c "$1/made.zip" tree)
/usr/bin/python3 -m zipfile -t "$2/made.zip"
mkdir "$1/unzipped" && /usr/bin/python3 -m zipfile -e "$1/made.zip" "$1/unzipped"; same "$3/tree" "$2/unzipped/tree"
mkdir "$1/by-unzip" && unzip -q "$1/made.zip" -d "$1/by-unzip"; same "$3/tree" "$2/by-unzip/tree"
gzip -k "$1/made.zip"; gunzip -c "$2/made.zip.gz" | cmp - "$2/made.zip"
"#;
