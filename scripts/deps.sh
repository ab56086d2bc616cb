#!/usr/bin/env bash
# Installs from apt what is missing on this machine, and nothing else.
#
#   scripts/deps.sh serve   what the server needs
#   scripts/deps.sh test    what the tests need besides
set -euo pipefail

# Each line: a program, or py: and a module of the distribution's Python, which is
# the one that jails see; the Debian package that has it; what it is for.
serve='
bash             bash       the shell that agents get
bwrap            bubblewrap confinement
mkfs.ext4        e2fsprogs  limits on the size of workspaces
/usr/bin/python3 python3    code in Python
/usr/bin/node    nodejs     code in JavaScript
chromium-headless-shell chromium-headless-shell the browser
/usr/lib/chromium/chrome-sandbox chromium-sandbox the sandbox of the browser itself
/usr/share/fonts/truetype/dejavu fonts-dejavu-core what the browser writes with
'
test='
curl             curl          the README'\''s example over HTTP
gcc              gcc           the race detector
pgrep            procps        looking at processes
ps               procps        looking at processes
py:ensurepip     python3-venv  programs in jails
py:numpy         python3-numpy programs in jails
py:pip           python3-pip   installing packages for code
py:pandas        python3-pandas     tables that code shows
py:matplotlib    python3-matplotlib figures that code shows
py:ipykernel     python3-ipykernel  code in Jupyter kernels
vim              vim           a full-screen program to drive
git              git           programs in jails
npm              npm           installing packages for code
perl             perl          programs in jails
Xvfb             xvfb          programs in jails
dockerd          docker.io     the driver docker
containerd       containerd    the driver docker
runc             runc          the driver docker
iptables         iptables      the driver docker
runsc            runsc         the driver gvisor
'

case "${1-}" in
serve) wanted=$serve ;;
test) wanted=$serve$test ;;
*)
	echo "usage: $0 serve|test" >&2
	exit 2
	;;
esac

# Where Debian has no directory of administrators' programs in the PATH of users.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

have() {
	case $1 in
	py:*) /usr/bin/python3 -c "import ${1#py:}" 2>/dev/null ;;
	/usr/share/*) [ -e "$1" ] ;;
	*) command -v "$1" >/dev/null ;;
	esac
}

missing=()
while read -r program package use; do
	if [ -n "$program" ] && ! have "$program"; then
		echo "deps: $program is missing ($use): needs the package $package"
		missing+=("$package")
	fi
done <<<"$wanted"
# A compiler alone cannot link: the race detector needs the C library's files too.
if [ "$1" = test ] && ! echo 'int main(void) { return 0; }' | gcc -x c -o /dev/null - 2>/dev/null; then
	echo "deps: no C program can be linked here (the race detector): needs the package libc6-dev"
	missing+=(libc6-dev)
fi
if [ ${#missing[@]} -eq 0 ]; then
	exit 0
fi

if [ "$(uname -s)" != Linux ]; then
	echo "deps: programs are confined on Linux only; install the above by hand" >&2
	exit 1
fi
if ! command -v apt-get >/dev/null; then
	echo "deps: there is no apt here; install the above with this system's package manager and run this again" >&2
	exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "deps: neither root nor sudo; ask for: apt-get install ${missing[*]}" >&2
		exit 1
	fi
	as_root=(sudo)
fi
echo "deps: apt-get install ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# Without an index, or with an old one, apt finds nothing: fetch it and try again.
"${as_root[@]}" apt-get install -y --no-install-recommends "${missing[@]}" >/dev/null 2>&1 ||
	{
		"${as_root[@]}" apt-get update -q
		"${as_root[@]}" apt-get install -y --no-install-recommends "${missing[@]}"
	}
