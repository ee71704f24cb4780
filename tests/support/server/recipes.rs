//! How each server is configured and run, and how its log is read.

use super::{Forbidden, HOME, Kind, Mode, Spec, Tls, USER};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(super) struct Recipe<'a> {
    pub(super) spec: &'a Spec,
    pub(super) directory: &'a Path,
    pub(super) port: u16,
    pub(super) password: &'a str,
}

impl Recipe<'_> {
    /// Writes the server's files into its directory; the command runs it in the foreground.
    pub(super) fn command(&self) -> Command {
        match self.spec.kind {
            Kind::Vsftpd => self.vsftpd(),
            Kind::Proftpd => self.proftpd(),
            Kind::PureFtpd => self.pureftpd(),
            Kind::Pyftpdlib => self.pyftpdlib(),
        }
    }

    fn vsftpd(&self) -> Command {
        assert_eq!((self.spec.session_lifetime, self.spec.quota_mib), (None, None), "vsftpd has no such thing");
        fs::create_dir_all(self.directory.join("empty")).expect("the directory is ours");
        let yes_no = |value: bool| if value { "YES" } else { "NO" };
        let directory = self.directory.display();
        let mut config = format!(
            "background=NO\nlisten=YES\nlisten_ipv6=NO\nlisten_address={address}\nlisten_port={port}\n\
             pasv_address={address}\npasv_min_port={first}\npasv_max_port={last}\n\
             anonymous_enable=NO\nlocal_enable=YES\nwrite_enable=YES\nlocal_umask=022\npam_service_name={USER}\n\
             local_root={root}\nchroot_local_user=YES\nallow_writeable_chroot=YES\nsecure_chroot_dir={directory}/empty\n\
             ssl_enable=YES\nforce_local_logins_ssl=YES\nforce_local_data_ssl=YES\nssl_ciphers=HIGH\n\
             rsa_cert_file={directory}/cert.pem\nrsa_private_key_file={directory}/key.pem\n\
             require_ssl_reuse={reuse}\nimplicit_ssl={implicit}\n\
             vsftpd_log_file={directory}/log\nxferlog_enable=YES\nxferlog_std_format=NO\nlog_ftp_protocol=YES\n\
             seccomp_sandbox=NO\nisolate=NO\nisolate_network=NO\ntcp_wrappers=NO\nmax_per_ip={clients}\n",
            address = self.spec.address(),
            port = self.port,
            first = self.passive().0,
            last = self.passive().1,
            root = self.spec.root.display(),
            reuse = yes_no(self.spec.reuse_required),
            implicit = yes_no(self.spec.mode == Mode::Implicit),
            clients = self.spec.clients_max.unwrap_or(50),
        );
        config += "max_login_fails=3\n";
        config += match self.spec.forbidden {
            Some(Forbidden::TemporaryNames) => "deny_file={*.ftpsfs-*}\n",
            Some(Forbidden::Renaming) => "cmds_denied=RNFR,RNTO\n",
            Some(Forbidden::Tls) => "ssl_enable=NO\n",
            None => "",
        };
        if self.spec.clients.is_some() {
            let _ = writeln!(config, "require_cert=YES\nvalidate_cert=YES\nca_certs_file={directory}/clients.pem");
        }
        config += &self.lines();
        let mut command = Command::new(format!("{HOME}/root/usr/sbin/vsftpd"));
        command.arg(self.write("vsftpd.conf", &config)).env("OPENSSL_CONF", self.openssl_conf());
        command.env("LD_LIBRARY_PATH", unpacked_libraries());
        command
    }

    fn proftpd(&self) -> Command {
        let directory = self.directory.display();
        let root = self.spec.root.display();
        let account = format!(
            "{USER}:{}:{}:{}:test:{root}:/usr/sbin/nologin\n",
            run("openssl", &["passwd", "-6", self.password]),
            run("id", &["-u", USER]),
            run("id", &["-g", USER]),
        );
        let accounts = self.write("accounts", &account);
        fs::set_permissions(&accounts, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("the file is ours");
        let mut config = format!(
            "ModulePath {HOME}/root/usr/lib/proftpd\nLoadModule mod_tls.c\nLoadModule mod_digest.c\nLoadModule mod_site_misc.c\nServerName test\nServerType standalone\n\
             DefaultAddress {address}\nSocketBindTight on\nPort {port}\nUseIPv6 off\nUseReverseDNS off\nWtmpLog off\n\
             PassivePorts {first} {last}\nUser {USER}\nGroup {USER}\nUmask 022\nAllowOverwrite on\n\
             AuthOrder mod_auth_file.c\nAuthUserFile {directory}/accounts\nRequireValidShell off\nDefaultRoot {root}\n\
             PidFile {directory}/pid\nScoreboardFile {directory}/scoreboard\nDelayEngine off\nMaxInstances 60\n\
             SystemLog {directory}/system\nTransferLog none\nLogFormat commands \"COMMAND %r => %s\"\n\
             ExtendedLog {directory}/log ALL commands\nAllowStoreRestart on\nAllowRetrieveRestart on\n\
             TLSEngine {engine}\nTLSLog {directory}/tls\nTLSRequired on\nTLSProtocol TLSv1.{tls}\nTLSVerifyClient off\n\
             TLSECCertificateFile {directory}/cert.pem\nTLSECCertificateKeyFile {directory}/key.pem\n",
            engine = if self.spec.forbidden == Some(Forbidden::Tls) { "off" } else { "on" },
            address = self.spec.address(),
            port = self.port,
            first = self.passive().0,
            last = self.passive().1,
            tls = match self.spec.tls {
                Tls::V12 => 2,
                Tls::V13 => 3,
            },
        );
        let options = [
            (self.spec.mode == Mode::Implicit, "UseImplicitSSL"),
            (!self.spec.reuse_required, "NoSessionReuseRequired"),
        ];
        for (_, option) in options.iter().filter(|(wanted, _)| *wanted) {
            let _ = writeln!(config, "TLSOptions {option}");
        }
        if let Some(lifetime) = self.spec.session_lifetime {
            let _ = writeln!(config, "TLSSessionCache internal: {}", lifetime.as_secs());
        }
        if let Some(clients) = self.spec.clients_max {
            let _ = writeln!(config, "MaxClientsPerHost {clients}");
        }
        config += match self.spec.forbidden {
            Some(Forbidden::TemporaryNames) => "PathDenyFilter \\.ftpsfs-\n",
            Some(Forbidden::Renaming) => "<Limit RNFR RNTO>\nDenyAll\n</Limit>\n",
            Some(Forbidden::Tls) => "",
            None => "",
        };
        if let Some(limit) = self.spec.quota_mib {
            config += &self.proftpd_quota(limit);
        }
        if self.spec.clients.is_some() {
            config = config.replace("TLSVerifyClient off", "TLSVerifyClient on");
            let _ = writeln!(config, "TLSCACertificateFile {directory}/clients.pem");
        }
        config += &self.lines();
        let mut command = Command::new(format!("{HOME}/root/usr/sbin/proftpd"));
        command.args(["--nodaemon", "--config"]).arg(self.write("proftpd.conf", &config));
        command.env("LD_LIBRARY_PATH", unpacked_libraries());
        command
    }

    /// Tables of mod_quotatab: what the account may upload, and what it has. Files that go past it are removed ("hard").
    fn proftpd_quota(&self, mib: u32) -> String {
        let (limits, tallies) = (self.path("limits"), self.path("tallies"));
        let program = format!("{HOME}/root/usr/sbin/ftpquota");
        let quota = |arguments: &[&str]| run("perl", &[&[program.as_str()], arguments].concat());
        quota(&["--create-table", "--type", "limit", "--table-path", &limits]);
        quota(&["--create-table", "--type", "tally", "--table-path", &tallies]);
        let bytes = (u64::from(mib) << 20).to_string();
        let record = ["--add-record", "--type", "limit", "--table-path", &limits, "--quota-type", "user"];
        quota(&[&record[..], &["--name", USER, "--limit-type", "hard", "--bytes-upload", &bytes]].concat());
        format!(
            "LoadModule mod_quotatab.c\nLoadModule mod_quotatab_file.c\nQuotaEngine on\nQuotaLimitTable file:{limits}\n\
             QuotaTallyTable file:{tallies}\n"
        )
    }

    fn pureftpd(&self) -> Command {
        assert_eq!((self.spec.mode, self.spec.session_lifetime), (Mode::Explicit, None), "Pure-FTPd has no such thing");
        let account = format!(
            "{USER}:{}:{}:{}::{}/./::::::::::::\n",
            run("openssl", &["passwd", "-6", self.password]),
            run("id", &["-u", USER]),
            run("id", &["-g", USER]),
            self.spec.root.display(),
        );
        let accounts = self.write("accounts", &account).display().to_string();
        let database = format!("{}/accounts.pdb", self.directory.display());
        run(&format!("{HOME}/root/usr/bin/pure-pw"), &["mkdb", &database, "-f", &accounts]);
        let mut command = Command::new(format!("{HOME}/root/usr/sbin/pure-ftpd"));
        command
            .args(["-S", &format!("{},{}", self.spec.address(), self.port)])
            .args(["-p", &format!("{}:{}", self.passive().0, self.passive().1)])
            .args(["-l", &format!("puredb:{database}"), "-A", "-E", "-H", "-Y", "3", "-u", "1"])
            .args(["-2", &format!("{}/both.pem", self.directory.display())])
            .args(["-O", &format!("clf:{}/log", self.directory.display())])
            .args(["-g", &format!("{}/pid", self.directory.display())])
            .args(["-c", "50", "-C", &self.spec.clients_max.unwrap_or(50).to_string()])
            .args(["-L", &format!("{}:10", self.spec.listed_max)])
            .env("OPENSSL_CONF", self.openssl_conf());
        match self.spec.forbidden {
            // All names that begin with a dot.
            Some(Forbidden::TemporaryNames) => drop(command.arg("-x")),
            Some(Forbidden::Renaming) => drop(command.arg("-G")),
            // The last of two holds.
            Some(Forbidden::Tls) => drop(command.args(["-Y", "0"])),
            None => {}
        }
        if let Some(mib) = self.spec.quota_mib {
            command.args(["-n", &format!("1000:{mib}")]);
        }
        command
    }

    fn pyftpdlib(&self) -> Command {
        assert_eq!(
            (self.spec.mode, self.spec.session_lifetime, self.spec.quota_mib),
            (Mode::Explicit, None, None),
            "our script has no such thing"
        );
        // The server drops root at once, so it cannot read root's files.
        run("chown", &[USER, &self.path("both.pem"), &self.path(".")]);
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", USER, "--regid", USER, "--clear-groups", "/usr/bin/python3"])
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/server/pyftpd.py"))
            .args([&self.path("."), &self.port.to_string()])
            .args([self.passive().0.to_string(), self.passive().1.to_string()])
            .arg(match self.spec.tls {
                Tls::V12 => "1.2",
                Tls::V13 => "1.3",
            })
            .arg(self.spec.clients_max.unwrap_or(50).to_string())
            .arg(&self.spec.root)
            .arg(match self.spec.forbidden {
                Some(Forbidden::TemporaryNames) => "temporary names",
                Some(Forbidden::Renaming) => "renaming",
                Some(Forbidden::Tls) => "tls",
                None => "nothing",
            })
            .env("PYTHONPATH", format!("{HOME}/python"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("FTPSFS_TEST_ADDRESS", self.spec.address())
            .env("FTPSFS_TEST_USER", USER)
            .env("FTPSFS_TEST_PASSWORD", self.password);
        command
    }

    fn lines(&self) -> String {
        self.spec.lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// vsftpd and Pure-FTPd have no switch for the TLS version; OpenSSL has.
    fn openssl_conf(&self) -> PathBuf {
        let version = match self.spec.tls {
            Tls::V12 => "TLSv1.2",
            Tls::V13 => "TLSv1.3",
        };
        let options = if self.spec.extended_master_secret { "" } else { "Options = -ExtendedMasterSecret\n" };
        let text = format!(
            "openssl_conf = top\n[top]\nssl_conf = ssl\n[ssl]\nsystem_default = default\n[default]\n\
             MinProtocol = {version}\nMaxProtocol = {version}\n{options}"
        );
        self.write("openssl.cnf", &text)
    }

    fn passive(&self) -> (u16, u16) {
        (self.port + 1, self.port + super::Ports::BLOCK - 1)
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.join(name);
        fs::write(&path, text).expect("the directory is ours");
        path
    }
}

/// The verb of the client's command that a line of the log tells of.
pub(super) fn command_in(kind: Kind, line: &str) -> Option<&str> {
    let rest = match kind {
        // … [user] FTP command: Client "127.0.0.1", "RETR /a"
        Kind::Vsftpd => line.split_once("FTP command: Client ")?.1.split_once(", \"")?.1.trim_end_matches('"'),
        Kind::Proftpd => line.strip_prefix("COMMAND ")?.split_once(" => ")?.0,
        // … 127.0.0.1:40000-[user] <- RETR /a
        Kind::Pyftpdlib => line.split_once("] <- ")?.1,
        Kind::PureFtpd => return None,
    };
    rest.split(' ').next()
}

/// Debian's directories of libraries, which bear the machine's name.
pub fn unpacked_libraries() -> String {
    let directories = run("find", &[&format!("{HOME}/root"), "-name", "*.so.*", "-printf", "%h\\n"]);
    let directories: BTreeSet<&str> = directories.lines().collect();
    directories.into_iter().collect::<Vec<_>>().join(":")
}

/// Runs a program that must succeed; returns what it prints, without the last line break.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).env("LD_LIBRARY_PATH", "").output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}
