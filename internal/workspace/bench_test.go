package workspace

import "testing"

func BenchmarkNewRelease(b *testing.B) {
	s, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	b.ReportAllocs()
	for b.Loop() {
		d, err := s.New(DirOptions{UID: -1, GID: -1})
		if err != nil {
			b.Fatal(err)
		}
		if err := d.Release(false); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNewAmongThousand takes and releases a slot while a thousand others
// are held.
func BenchmarkNewAmongThousand(b *testing.B) {
	s, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for range 1000 {
		if _, err := s.New(DirOptions{UID: -1, GID: -1}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		d, err := s.New(DirOptions{UID: -1, GID: -1})
		if err != nil {
			b.Fatal(err)
		}
		if err := d.Release(false); err != nil {
			b.Fatal(err)
		}
	}
}
