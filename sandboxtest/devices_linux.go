package sandboxtest

// deviceEscapes open devices of the host. Nothing is read from them or written to
// them, and none is opened for which opening alone does something.
func deviceEscapes() []Escape {
	var es []Escape
	for _, d := range []struct{ name, tries, pattern string }{
		{"memory", "the machine's memory", "/dev/mem /dev/kmem /dev/port"},
		{"kernel-log", "the kernel's log", "/dev/kmsg"},
		{"kvm", "the hypervisor", "/dev/kvm"},
		{"fuse", "FUSE, to make file systems", "/dev/fuse"},
		{"tun", "network tunnels", "/dev/net/tun"},
		{"disks", "disks", "/dev/sd* /dev/vd* /dev/xvd* /dev/nvme* /dev/dm-* /dev/mapper/control /dev/ram*"},
		{"loop", "loop devices", "/dev/loop*"},
		{"vhost", "the kernel's servers of virtual machines", "/dev/vhost-*"},
		{"input", "keyboards and mice", "/dev/input/* /dev/uinput /dev/uhid"},
		{"graphics", "graphics", "/dev/dri/* /dev/fb*"},
		{"processors", "registers of processors", "/dev/cpu/*/msr /dev/cpu/*/cpuid"},
		{"userfaultfd", "the stopping of the kernel within a page fault", "/dev/userfaultfd"},
		{"vfio", "raw devices", "/dev/vfio/*"},
		{"clocks", "clocks", "/dev/rtc* /dev/hpet /dev/ptp*"},
		{"time-of-consoles", "consoles", "/dev/vcs* /dev/tty[0-9]*"},
		{"serial", "serial lines", "/dev/ttyS* /dev/hvc*"},
		{"control", "controls of file systems and of firmware", "/dev/btrfs-control /dev/autofs /dev/nvram /dev/mcelog /dev/tpm*"},
	} {
		es = append(es, Escape{Name: "devices/" + d.name, Tries: "open " + d.tries, Seen: "one opens; nothing is read or written",
			code: `
names = [n for p in '` + d.pattern + `'.split() for n in sorted(glob.glob(p))]
errors = {}
for n in names:
    try: fd = os.open(n, os.O_RDONLY|os.O_NONBLOCK|os.O_NOCTTY)
    except OSError as e: errors[e.strerror] = errors.get(e.strerror, 0) + 1; continue
    os.close(fd); escaped('opened ' + n)
stopped('%d names, errors: %s' % (len(names), errors))`})
	}
	return append(es,
		Escape{Name: "devices/list", Tries: "find a device besides the harmless", Seen: "there is one in /dev",
			code: `
fine = {'null', 'zero', 'full', 'random', 'urandom', 'tty', 'ptmx', 'console'}
more = []
for d, _, names in os.walk('/dev'):
    if d.startswith('/dev/pts'): continue
    for n in names:
        st = os.lstat(os.path.join(d, n))
        if (stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode)) and n not in fine: more.append(os.path.join(d, n))
if more: escaped('%d: %s' % (len(more), more[:5]))
stopped('there is none')`},
		Escape{Name: "devices/terminals", Tries: "open a terminal of the host by its number", Seen: "/dev/pts has one that it did not make", alone: true,
			code: `
names = [n for n in os.listdir('/dev/pts') if n.isdigit()]
if not names: stopped('/dev/pts has none')
opens('/dev/pts/' + names[0])`},
		Escape{Name: "devices/numbers", Tries: "see the host's terminal by the number of a new one", Seen: "/dev/ptmx is the host's", alone: true,
			code: `
a, b = os.openpty()
name = os.ttyname(b)
same = os.stat('/dev/pts').st_dev == F['pts_dev']
if same: escaped('/dev/pts is the host\'s')
stopped('its own is %s, of another file system' % name)`},
	)
}
