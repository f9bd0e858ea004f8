package evaluate

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Replace writes a file whole or not at all: an error leaves the file of before as it was. The new one has the permissions of the old one, and is
// readable by its owner only where there was none. A link to a file leads to the file that is replaced; what is not a regular file, such as a pipe, is
// written to as it is.
func Replace(path string, write func(io.Writer) error) (err error) {
	mode := fs.FileMode(0o600)
	switch at, err := os.Stat(path); {
	case err == nil && !at.Mode().IsRegular():
		return writeTo(path, write)
	case err == nil:
		mode = at.Mode().Perm()
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return fmt.Errorf("find the file: %w", err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("find the file: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("make a file: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err := errors.Join(write(f), f.Chmod(mode), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("keep the file: %w", err)
	}
	return nil
}

func writeTo(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("open what is to be written to: %w", err)
	}
	return errors.Join(write(f), f.Close())
}
