# Completion of ftpsfs(8) for fish.

function __ftpsfs_options
    set -l known \
        user=\t'the account' \
        port=\t'the port' \
        credentials=\t'file with username= and password=' \
        password_command=\t'a shell command that prints the password' \
        cafile=\t'certificate authorities to believe' \
        capath=\t'directory of certificate authorities to believe' \
        roots=\t'webpki or system' \
        pin=\t'key that the server must have' \
        tofu\t'believe the key that is seen first' \
        known_servers=\t'where tofu keeps the keys' \
        insecure-no-verify\t'believe every server' \
        cert=\t'our certificate' \
        key=\t'the key of our certificate' \
        tls_min=\t'1.2 or 1.3' \
        tls=\t'explicit or implicit' \
        charset=\t'what names are in on the server' \
        ignore_case\t'the server does not tell upper from lower case' \
        connections=\t'control connections at most' \
        timeout=\t'how long the server may take for one step' \
        cache_size=\t'bytes of file content kept in memory' \
        prefetch=\t'files, metadata or off' \
        cache_dir=\t'where content that was read is kept' \
        cache_dir_size=\t'bytes of the disk that cache_dir takes' \
        attr_timeout=\t'how long attributes are believed' \
        dir_timeout=\t'how long a listing is believed' \
        uid=\t'who owns every file' \
        gid=\t'the group of every file' \
        idmap=\t'whether files belong to whom they belong to on the server' \
        file_mode=\t'permission bits of files of which the server tells none' \
        dir_mode=\t'permission bits of directories of which the server tells none' \
        umask=\t'permission bits to take away' \
        allow_other\t'let other users in' \
        ro\t'mount read-only' \
        rw\t'mount for reading and writing' \
        upload=\t'temporary or direct' \
        verify=\t'size or hash' \
        writeback\t'close does not wait for the server' \
        conflict=\t'refuse or overwrite' \
        server_tz=\t'in which time the server lists' \
        ignore_perms\t'chmod and chown that the server cannot do succeed' \
        spool_dir=\t'where content waits that is not written in order' \
        journal_dir=\t'where closed files wait for their upload' \
        recovery_dir=\t'where content is kept that could not be uploaded' \
        noexec\t'no program may be run' \
        delay_connect\t'connect when somebody looks' \
        mount_timeout=\t'how long connecting is tried again' \
        log_level=\t'error, warn, info, debug or trace' \
        log=\t'file for the log' \
        debug\t'stay in the foreground and log at debug'
    # What stands before the last comma stays.
    set -l done (string match --regex --groups-only '^(.*,)[^,]*$' -- (commandline --current-token))
    for option in $known
        # Quoted, since nothing before a comma would otherwise make nothing of the whole.
        echo "$done$option"
    end
end

complete --command ftpsfs --no-files
complete --command ftpsfs --short-option f --long-option foreground --description 'Stay in the foreground'
complete --command ftpsfs --short-option d --long-option debug --description 'Stay in front and log at debug'
complete --command ftpsfs --short-option v --long-option verbose --description 'Log more'
complete --command ftpsfs --short-option o --exclusive --arguments '(__ftpsfs_options)' --description 'Options'
complete --command ftpsfs --short-option h --long-option help --description 'Show help'
complete --command ftpsfs --short-option V --long-option version --description 'Show the version'
complete --command ftpsfs --arguments 'ftps:// ftpes:// (__fish_complete_directories)'
complete --command ftpsfs --condition __fish_is_first_arg --arguments check --description 'Say whether a mount works'
set -l checks '__fish_seen_subcommand_from check'
complete --command ftpsfs --condition $checks --long-option write --description 'Store a scratch file and delete it'
complete --command ftpsfs --condition $checks --long-option limits --description 'Open connections until one is refused'
complete --command ftpsfs --condition $checks --long-option json --description 'Report for programs'
complete --command ftpsfs --condition $checks --long-option trace --description 'Show the dialogue with the server'
