# Completion of ftpsfs(8) for bash.

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
journal_dir=
recovery_dir=
noexec
delay_connect
mount_timeout=
log_level=
log=
debug
'

_ftpsfs_complete_option() {
    # The option after the last comma; bash parts words at "=" as well, unless asked for the line itself.
    local typed=$1 done='' last
    last=${typed##*,}
    [[ $typed == *,* ]] && done=${typed%,*},
    case $last in
        credentials=* | cafile=* | cert=* | key=* | known_servers=* | log=*) mapfile -t COMPREPLY < <(compgen -f -P "$done${last%%=*}=" -- "${last#*=}") ;;
        tls=*) mapfile -t COMPREPLY < <(compgen -P "${done}tls=" -W 'explicit implicit' -- "${last#*=}") ;;
        roots=*) mapfile -t COMPREPLY < <(compgen -P "${done}roots=" -W 'webpki system' -- "${last#*=}") ;;
        tls_min=*) mapfile -t COMPREPLY < <(compgen -P "${done}tls_min=" -W '1.2 1.3' -- "${last#*=}") ;;
        upload=*) mapfile -t COMPREPLY < <(compgen -P "${done}upload=" -W 'temporary direct' -- "${last#*=}") ;;
        charset=*) mapfile -t COMPREPLY < <(compgen -P "${done}charset=" -W 'auto utf-8 windows-1252 windows-1251 ibm866 koi8-r shift_jis gb18030 big5 euc-kr' -- "${last#*=}") ;;
        prefetch=*) mapfile -t COMPREPLY < <(compgen -P "${done}prefetch=" -W 'files metadata off' -- "${last#*=}") ;;
        idmap=*) mapfile -t COMPREPLY < <(compgen -P "${done}idmap=" -W 'none numeric name' -- "${last#*=}") ;;
        verify=*) mapfile -t COMPREPLY < <(compgen -P "${done}verify=" -W 'size hash' -- "${last#*=}") ;;
        conflict=*) mapfile -t COMPREPLY < <(compgen -P "${done}conflict=" -W 'refuse overwrite' -- "${last#*=}") ;;
        capath=* | cache_dir=* | spool_dir=* | journal_dir=* | recovery_dir=*) mapfile -t COMPREPLY < <(compgen -d -P "$done${last%%=*}=" -- "${last#*=}") ;;
        log_level=*)
            mapfile -t COMPREPLY < <(compgen -P "${done}log_level=" -W 'error warn info debug trace' -- "${last#*=}")
            ;;
        *) mapfile -t COMPREPLY < <(compgen -P "$done" -W "$_ftpsfs_options" -- "$last") ;;
    esac
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
    elif [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W '-f -d -v -o -h -V --foreground --debug --verbose --help --version' -- "$word")
    elif [[ $word == ftp* ]]; then
        mapfile -t COMPREPLY < <(compgen -W 'ftps:// ftpes://' -- "$word")
        compopt -o nospace
    else
        mapfile -t COMPREPLY < <(compgen -d -- "$word")
        if [[ $before =~ ^[^[:space:]]+[[:space:]]+$ && check == "$word"* ]]; then
            COMPREPLY+=(check)
        fi
    fi
    # readline replaces only what stands after the last word break.
    cut=${word%"${word##*[=:]}"}
    if [[ -n $cut && $COMP_WORDBREAKS == *[=:]* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"$cut"}")
    fi
}

complete -F _ftpsfs ftpsfs
