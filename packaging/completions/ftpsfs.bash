# Completion of ftpsfs(8) and mount.ftpsfs(8) for bash.

# Made of the table of options by `make documents`:
_ftpsfs_options='
user=
port=
credentials=
password_command=
cafile=
capath=
roots=
pin=
tofu
known_servers=
insecure-no-verify
cert=
key=
tls_min=
tls=
charset=
ignore_case
connections=
timeout=
soft
hard
stale_ok=
cache_size=
prefetch=
cache_dir=
cache_dir_size=
attr_timeout=
dir_timeout=
uid=
gid=
idmap=
file_mode=
dir_mode=
umask=
allow_other
ro
rw
upload=
verify=
writeback
conflict=
server_tz=
ignore_perms
spool_dir=
recovery_dir=
journal_dir=
noexec
delay_connect
mount_timeout=
log_level=
log=
debug
'

# What compgen is to be told about the values of an option.
_ftpsfs_values() {
    case $1 in
        credentials | cafile | known_servers | cert | key | log) echo '-f' ;;
        capath | cache_dir | spool_dir | recovery_dir | journal_dir) echo '-d' ;;
        roots) echo '-W webpki system' ;;
        tls_min) echo '-W 1.2 1.3' ;;
        tls) echo '-W explicit implicit' ;;
        charset) echo '-W auto utf-8 windows-1252 windows-1251 ibm866 koi8-r shift_jis gb18030 big5 euc-kr' ;;
        stale_ok) echo '-W yes no' ;;
        prefetch) echo '-W files metadata off' ;;
        idmap) echo '-W none numeric name' ;;
        upload) echo '-W temporary direct' ;;
        verify) echo '-W size hash' ;;
        conflict) echo '-W refuse overwrite' ;;
        log_level) echo '-W error warn info debug trace' ;;
    esac
}
# As far as it is made.

_ftpsfs_compgen() {
    local before=$1 typed=$2 kind=$3
    shift 3
    case $kind in
        -W) mapfile -t COMPREPLY < <(compgen -P "$before" -W "$*" -- "$typed") ;;
        -?) mapfile -t COMPREPLY < <(compgen "$kind" -P "$before" -- "$typed") ;;
    esac
}

_ftpsfs_complete_option() {
    # The option after the last comma; bash parts words at "=" as well, unless asked for the line itself.
    local typed=$1 done='' last
    last=${typed##*,}
    [[ $typed == *,* ]] && done=${typed%,*},
    if [[ $last == *=* ]]; then
        # shellcheck disable=SC2046 # words for compgen, of which -W takes the rest
        _ftpsfs_compgen "$done${last%%=*}=" "${last#*=}" $(_ftpsfs_values "${last%%=*}")
    else
        mapfile -t COMPREPLY < <(compgen -P "$done" -W "$_ftpsfs_options" -- "$last")
    fi
    compopt -o nospace
}

_ftpsfs() {
    # The word up to the cursor, with its "=" and ":".
    local line=${COMP_LINE:0:COMP_POINT} word before cut
    word=${line##*[[:space:]]}
    before=${line%"$word"}
    COMPREPLY=()
    if [[ $before =~ [[:space:]]-o[[:space:]]+$ ]]; then
        _ftpsfs_complete_option "$word"
    elif [[ $word == -* && $before =~ ^[^[:space:]]+[[:space:]]+check[[:space:]] ]]; then
        mapfile -t COMPREPLY < <(compgen -W '-o --write --limits --json --trace -h --help' -- "$word")
    elif [[ $word == -* && ${before%%[[:space:]]*} == *mount.ftpsfs ]]; then
        mapfile -t COMPREPLY < <(compgen -W '-s -f -n -v -N -o -t -h -V --help --version' -- "$word")
    elif [[ $word == -* && $before =~ ^[^[:space:]]+[[:space:]]+status[[:space:]] ]]; then
        mapfile -t COMPREPLY < <(compgen -W '-w -j -p -h --watch --json --prometheus --help' -- "$word")
    elif [[ $word == -* && $before =~ ^[^[:space:]]+[[:space:]]+refresh[[:space:]] ]]; then
        mapfile -t COMPREPLY < <(compgen -W '-h --help' -- "$word")
    elif [[ $before =~ ^[^[:space:]]+[[:space:]]+refresh[[:space:]] ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    elif [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W '-f -d -v -o -h -V --foreground --debug --verbose --help --version' -- "$word")
    elif [[ $word == ftp* ]]; then
        mapfile -t COMPREPLY < <(compgen -W 'ftps:// ftpes://' -- "$word")
        compopt -o nospace
    else
        mapfile -t COMPREPLY < <(compgen -d -- "$word")
        if [[ $before =~ ^[^[:space:]]*ftpsfs[[:space:]]+$ && $before != *mount.* ]]; then
            mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W 'check status refresh' -- "$word")
        fi
    fi
    # readline replaces only what stands after the last word break.
    cut=${word%"${word##*[=:]}"}
    if [[ -n $cut && $COMP_WORDBREAKS == *[=:]* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"$cut"}")
    fi
}

complete -F _ftpsfs ftpsfs mount.ftpsfs
