package db

import (
	"errors"
	"os"
	"path/filepath"
)

const (
	privatePrefix = "selfsame-db-"
	privateLock   = "lock" // a file that its owner holds locked as long as it lives
)

// private is the directory of a private database. A nil one is none.
type private struct {
	path string
	lock *os.File
}

// newPrivate makes a directory in dir, and removes those there whose owner was killed before it could.
func newPrivate(dir string) (*private, error) {
	left, err := filepath.Glob(filepath.Join(dir, privatePrefix+"*", privateLock))
	if err == nil && canLock {
		for _, lock := range left {
			abandoned(lock)
		}
	}
	path, err := os.MkdirTemp(dir, privatePrefix)
	if err != nil {
		return nil, err
	}
	p := &private{path: path}
	// Under its name only once it is locked: nobody must find it unlocked while its owner lives.
	p.lock, err = os.Create(filepath.Join(path, "new"))
	if err == nil {
		if err = lockFile(p.lock); err == nil {
			err = os.Rename(p.lock.Name(), filepath.Join(path, privateLock))
		}
	}
	if err != nil {
		return nil, errors.Join(err, p.remove())
	}
	return p, nil
}

// abandoned removes the directory of a lock that nobody holds. What cannot be looked at is left alone.
func abandoned(lock string) {
	f, err := os.Open(lock) //nolint:gosec // a file of ours
	if err != nil {
		return
	}
	defer f.Close()
	if lockFile(f) == nil {
		_ = os.RemoveAll(filepath.Dir(lock)) // the next one tries again
	}
}

// remove removes the directory.
func (p *private) remove() error {
	if p == nil {
		return nil
	}
	err := os.RemoveAll(p.path)
	if p.lock != nil {
		err = errors.Join(err, p.lock.Close())
	}
	return err
}
