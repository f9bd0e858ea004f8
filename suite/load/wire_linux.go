package load

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// line is one connection. The runtime does not know it: the loop below asks the kernel itself.
type line struct {
	fd   int // -1: none
	to   netip.AddrPort
	busy bool
	// used is when it was opened or last answered.
	used time.Time
	// Of the request that is under way:
	number int
	due    time.Duration // since the shot began
	out    []byte
	in     answer
}

func newLine(host string) (*line, error) {
	to, err := netip.ParseAddrPort(host)
	if err != nil || !to.Addr().Is4() {
		return nil, fmt.Errorf("load: %q is no IPv4 address with a port", host)
	}
	l := &line{fd: -1, to: to}
	return l, l.dial()
}

// dial opens the connection anew.
func (l *line) dial() error {
	l.close()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	l.fd = fd
	if err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(l.to.Port()), Addr: l.to.Addr().As4()}); err == nil {
		err = errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1), unix.SetNonblock(fd, true))
	}
	if err != nil {
		l.close()
		return fmt.Errorf("load: connect to %v: %w", l.to, err)
	}
	l.used = time.Now()
	return nil
}

// idleLimit is how long a connection is kept that is not used. A server closes one after a while, this one's after ten seconds when nothing was
// ever asked over it; a request that it meets on the way is lost without an answer. So the one who asks lets go of it first, as clients do.
const idleLimit = 5 * time.Second

// fresh reports whether a request may be sent: the server has not closed the connection as far as can be known, and will not just now.
func (l *line) fresh(now time.Time) (bool, error) {
	if l.fd < 0 || now.Sub(l.used) > idleLimit {
		return false, nil
	}
	var first [1]byte
	n, _, err := unix.Recvfrom(l.fd, first[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	if n > 0 {
		return false, errors.New("load: the server says something that it was not asked")
	}
	return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR), nil
}

func (l *line) close() {
	if l.fd >= 0 {
		_ = unix.Close(l.fd) // nothing is under way that could be lost
		l.fd = -1
	}
}

// send writes a whole request. A request is smaller than what a socket takes at once.
func (l *line) send() error {
	switch n, err := unix.Write(l.fd, l.out); {
	case err != nil:
		return fmt.Errorf("load: send request: %w", err)
	case n < len(l.out):
		return errors.New("load: the request is larger than a socket takes at once")
	}
	return nil
}

// receive reads what has come in, and reports whether the answer is complete.
func (l *line) receive() (bool, error) {
	const step = 4 << 10
	for {
		have := len(l.in.text)
		if cap(l.in.text)-have < step {
			l.in.text = append(l.in.text, make([]byte, step)...)[:have]
		}
		n, err := unix.Read(l.fd, l.in.text[have:cap(l.in.text)])
		switch {
		case errors.Is(err, unix.EAGAIN):
			return false, nil
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return false, fmt.Errorf("load: read answer: %w", err)
		case n == 0:
			return false, errors.New("load: the server closed the connection before it answered")
		}
		l.in.text = l.in.text[:have+n]
		if done, err := l.in.complete(); done || err != nil {
			return done, err
		}
	}
}

// volley is a shot under way: one thread that sends what is due, and reads what comes. It asks the kernel and not the runtime what
// is there, because that knows waiting only in whole milliseconds and wakes one goroutine after the other.
type volley struct {
	shot    shot
	request request
	latency []time.Duration // of each request; -1 of one that was refused
	late    []time.Duration // how long after it was due each was sent
	bytes   int64           // of bodies

	poll  int
	ready [64]unix.EpollEvent
	pause [1]unix.PollFd
	lines map[int32]*line
	free  []*line
	sent  int
	done  int
	began time.Time
}

// fly sends the requests of a shot over connections of the wire, which it leaves open.
func (w *wire) fly(ctx context.Context, v *volley) (took time.Duration, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// The kernel wakes threads up to 50 µs late, unless they ask for better; zero is what it does by itself. Where one may not ask,
	// the requests are so much later, and how late they are is told.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	defer func() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) }()
	if v.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return 0, fmt.Errorf("load: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(v.poll)) }()
	v.pause[0] = unix.PollFd{Fd: int32(v.poll), Events: unix.POLLIN}
	v.lines = map[int32]*line{}
	if w.idle == nil {
		w.idle = map[string][]*line{}
	}
	host := v.request.host
	for len(w.idle[host]) < v.shot.connections {
		l, err := newLine(host)
		if err != nil {
			return 0, err
		}
		w.idle[host] = append(w.idle[host], l)
	}
	// What was closed in the meantime, or soon would be, is opened again before the clock runs.
	for _, l := range w.idle[host][:v.shot.connections] {
		if err := v.open(l, time.Now()); err != nil {
			return 0, err
		}
		v.free = append(v.free, l)
	}
	v.began = time.Now()
	if err := v.run(ctx); err != nil {
		// An answer may still be under way, which nobody will read.
		for _, l := range w.idle[host] {
			l.close()
		}
		delete(w.idle, host)
		return 0, err
	}
	return time.Since(v.began), nil
}

// open opens a connection anew unless it is fresh, and listens to it.
func (v *volley) open(l *line, now time.Time) error {
	fresh, err := l.fresh(now)
	if fresh && v.lines[int32(l.fd)] == l { //nolint:gosec // the kernel's
		return nil
	}
	if err == nil && !fresh {
		v.hangUp(l)
		err = l.dial()
	}
	if err != nil {
		return err
	}
	return v.add(l)
}

func (v *volley) add(l *line) error {
	fd := int32(l.fd) //nolint:gosec // the kernel's
	if err := unix.EpollCtl(v.poll, unix.EPOLL_CTL_ADD, l.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: fd}); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	v.lines[fd] = l
	return nil
}

func (v *volley) run(ctx context.Context) error {
	heard, done := v.began, 0
	for v.done < v.shot.requests {
		wait, err := v.send()
		if err == nil {
			_, err = v.take(wait)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if now := time.Now(); v.done > done || v.sent == v.done {
			heard, done = now, v.done
		} else if now.Sub(heard) > silence {
			return fmt.Errorf("load: nothing came back for %v", silence)
		}
	}
	return nil
}

// send sends what is due, and returns how long nothing else is.
func (v *volley) send() (time.Duration, error) {
	const longest = 100 * time.Millisecond // ctx is looked at so often
	for v.sent < v.shot.requests && len(v.free) > 0 {
		now := time.Since(v.began)
		due := now
		if v.shot.rate > 0 {
			due = time.Duration(float64(v.sent) / v.shot.rate * float64(time.Second))
		}
		if due > now {
			return min(due-now, longest), nil
		}
		l := v.free[len(v.free)-1]
		v.free = v.free[:len(v.free)-1]
		if err := v.open(l, v.began.Add(now)); err != nil {
			return 0, err
		}
		l.busy, l.number, l.due = true, v.sent, due
		l.in.reset()
		l.out = v.request.appendTo(l.out[:0], v.shot, v.sent)
		if err := l.send(); err != nil {
			return 0, err
		}
		v.late[v.sent] = now - due
		v.sent++
	}
	return longest, nil
}

// take waits at most so long for answers, reads those that there are, and returns how many connections had something to say.
func (v *volley) take(wait time.Duration) (int, error) {
	if wait > 0 {
		// The wait of epoll itself is one of whole milliseconds.
		limit := unix.NsecToTimespec(wait.Nanoseconds())
		if n, err := unix.Ppoll(v.pause[:], &limit, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return 0, fmt.Errorf("load: wait for answers: %w", err)
		} else if n == 0 {
			return 0, nil
		}
	}
	n, err := unix.EpollWait(v.poll, v.ready[:], 0)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return 0, fmt.Errorf("load: wait for answers: %w", err)
	}
	for _, event := range v.ready[:max(n, 0)] {
		if err := v.read(v.lines[event.Fd]); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (v *volley) read(l *line) error {
	if !l.busy { // the server closed it: it is opened again when it is needed
		_, err := l.fresh(l.used)
		v.hangUp(l)
		return err
	}
	complete, err := l.receive()
	if err != nil || !complete {
		return err
	}
	l.busy, l.used = false, time.Now()
	v.done++
	v.free = append(v.free, l)
	v.bytes += int64(l.in.size)
	v.latency[l.number] = l.used.Sub(v.began) - l.due
	switch refused := l.in.status == http.StatusTooManyRequests || l.in.status == http.StatusServiceUnavailable; {
	case refused && v.shot.sheds:
		v.latency[l.number] = -1
	case l.in.status != http.StatusOK && l.in.status != http.StatusCreated:
		return fmt.Errorf("load: answered %d: %.200s", l.in.status, l.in.text[l.in.body:])
	}
	if l.in.closes {
		v.hangUp(l)
	}
	return nil
}

// hangUp closes a connection, which also ends the kernel's watching.
func (v *volley) hangUp(l *line) {
	delete(v.lines, int32(l.fd)) //nolint:gosec // the kernel's
	l.close()
}
