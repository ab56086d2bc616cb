package jail

import (
	"runtime"
	"sync"
)

// spareThreads is how many threads a first process has ready. Its goroutines
// need fewer at once.
const spareThreads = 6

// reserveThreads makes the runtime have threads to spare: once programs have
// used up the worker's processes none can be made any more, and the runtime ends
// a program that cannot have one. Threads are never given back.
func reserveThreads() {
	var all, done sync.WaitGroup
	release := make(chan struct{})
	all.Add(spareThreads)
	for range spareThreads {
		done.Go(func() {
			runtime.LockOSThread() // so that it waits on a thread that nobody else can have
			defer runtime.UnlockOSThread()
			all.Done()
			<-release
		})
	}
	all.Wait()
	close(release)
	done.Wait()
}
