package db

import (
	"container/list"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// SQLite compiles a statement each time it is run, which costs more than running a small one. So each connection keeps
// the statements it ran last, compiled.
const (
	keptStatements = 64
	keptLength     = 4 << 10 // longer ones are lists of many rows: seldom alike, and large once compiled
)

// sqliteConn is what a connection of the driver can do; the wrapper can do no less.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// sqliteStmt is what a compiled statement of the driver can do.
type sqliteStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// keepingConn is a connection that keeps compiled statements. Like every driver.Conn it is used by one goroutine at a
// time. A statement in use is not among the kept ones, so a query may run while the rows of the same query are read.
type keepingConn struct {
	sqliteConn

	kept   map[string]*list.Element // by the caller's text
	recent *list.List               // of *kept, the last used in front
}

type kept struct {
	text string
	stmt sqliteStmt
}

func keep(c driver.Conn) (driver.Conn, error) {
	conn, ok := c.(sqliteConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a connection of type %T lacks something", c), c.Close())
	}
	return &keepingConn{sqliteConn: conn, kept: map[string]*list.Element{}, recent: list.New()}, nil
}

// ExecContext implements driver.ExecerContext.
func (c *keepingConn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	if !worthKeeping(text) {
		return c.sqliteConn.ExecContext(ctx, positional(text, len(args)), args)
	}
	s, err := c.take(ctx, text, len(args))
	if err != nil {
		return nil, err
	}
	res, err := s.ExecContext(ctx, args)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return res, c.give(text, s)
}

// QueryContext implements driver.QueryerContext.
func (c *keepingConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	if !worthKeeping(text) {
		return c.sqliteConn.QueryContext(ctx, positional(text, len(args)), args)
	}
	s, err := c.take(ctx, text, len(args))
	if err != nil {
		return nil, err
	}
	rows, err := s.QueryContext(ctx, args)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &keptRows{Rows: rows, done: func(err error) error {
		if err != nil {
			return errors.Join(err, s.Close())
		}
		return c.give(text, s)
	}}, nil
}

// Close implements driver.Conn.
func (c *keepingConn) Close() error {
	var errs []error
	for e := c.recent.Front(); e != nil; e = e.Next() {
		errs = append(errs, e.Value.(*kept).stmt.Close()) //nolint:forcetypeassert // holds nothing else
	}
	c.recent.Init()
	clear(c.kept)
	return errors.Join(append(errs, c.sqliteConn.Close())...)
}

// take returns the statement compiled. It is nobody else's until it is given back or closed.
func (c *keepingConn) take(ctx context.Context, text string, args int) (sqliteStmt, error) {
	if e := c.kept[text]; e != nil {
		delete(c.kept, text)
		return c.recent.Remove(e).(*kept).stmt, nil //nolint:forcetypeassert // holds nothing else
	}
	s, err := c.PrepareContext(ctx, positional(text, args))
	if err != nil {
		return nil, err
	}
	stmt, ok := s.(sqliteStmt)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a statement of type %T lacks something", s), s.Close())
	}
	return stmt, nil
}

// give keeps a statement that is no longer in use, in the place of the one that was not used for longest.
func (c *keepingConn) give(text string, s sqliteStmt) error {
	if c.kept[text] != nil {
		return s.Close() // it ran twice at the same time
	}
	c.kept[text] = c.recent.PushFront(&kept{text, s})
	if c.recent.Len() <= keptStatements {
		return nil
	}
	last := c.recent.Remove(c.recent.Back()).(*kept) //nolint:forcetypeassert // holds nothing else
	delete(c.kept, last.text)
	return last.stmt.Close()
}

// keptRows gives the statement back once the rows have been read.
type keptRows struct {
	driver.Rows
	done func(error) error
}

// Close implements driver.Rows; it may be called more than once.
func (r *keptRows) Close() error {
	if r.done == nil {
		return nil
	}
	done := r.done
	r.done = nil
	return done(r.Rows.Close())
}

// worthKeeping reports whether a statement is likely to be run again: those of migrations and pragmas are not.
func worthKeeping(text string) bool {
	if len(text) > keptLength {
		return false
	}
	verb, _, _ := strings.Cut(strings.TrimLeft(text, " \t\r\n"), " ")
	switch strings.ToUpper(strings.TrimSpace(verb)) {
	case "SELECT", "INSERT", "UPDATE", "DELETE", "WITH":
		return !strings.Contains(text, ";")
	}
	return false
}

// positional replaces the parameters $1, $2, … by ? if they stand in this order and each once. To SQLite $1 is a name,
// and it compares the name of each parameter with those of all before it: of a list of 2,000 values that takes longer
// than to insert them. A text that is not surely understood stays as it is.
func positional(text string, args int) string {
	if args == 0 {
		return text
	}
	var b strings.Builder
	b.Grow(len(text))
	n := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '?', '`', '[', '@', ':', '#':
			return text
		case '-', '/':
			if i+1 < len(text) && (text[i+1] == '-' || text[i+1] == '*') {
				return text
			}
			b.WriteByte(c)
		case '\'', '"':
			end := strings.IndexByte(text[i+1:], c)
			if end < 0 {
				return text
			}
			b.WriteString(text[i : i+1+end+1])
			i += end + 1
		case '$':
			end := i + 1
			for end < len(text) && text[end] >= '0' && text[end] <= '9' {
				end++
			}
			if n++; text[i+1:end] != strconv.Itoa(n) {
				return text
			}
			b.WriteByte('?')
			i = end - 1
		default:
			b.WriteByte(c)
		}
	}
	if n != args {
		return text
	}
	return b.String()
}
