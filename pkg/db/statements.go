package db

import (
	"container/list"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"modernc.org/sqlite"
)

// SQLite compiles a statement each time it is run, which costs more than running a small one. So each connection keeps
// the statements it ran last, compiled: as many as a service has, for of fewer that come in turn each would be gone when it is
// due again. One takes some 5 KiB.
const (
	keptStatements = 256
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
	sqlite.DBStatus
}

// sqliteStmt is what a compiled statement of the driver can do.
type sqliteStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// keepingConn is a connection that keeps compiled statements. Like every driver.Conn it is used by one goroutine at a
// time. Of a query that runs while its rows are still read another one is compiled.
type keepingConn struct {
	sqliteConn

	// Since somebody last set them to false: whether a statement ran that may have changed something, and one after which the
	// transaction may not be there any more, because it failed or because it is not one that reads or changes rows.
	changed, shaken bool

	begin  string                   // what a transaction begins with
	kept   map[string]*list.Element // by the caller's text
	recent *list.List               // of *kept, the last used in front
}

type kept struct {
	text string
	stmt sqliteStmt // nil: it is not worth to be kept
	// run is the text as SQLite gets it, and order which of the caller's arguments each of its parameters gets; nil: as they are.
	run   string
	order []int
	args  int // how many order was made for
	reads bool
	other bool // neither reads nor changes rows

	at    *list.Element       // where it is kept; nil: nowhere
	busy  bool                // it runs, or its rows are read
	given []driver.NamedValue // the arguments in the order of the parameters, while it begins to run
}

// in returns the arguments in the order of the parameters, until out is called.
func (k *kept) in(args []driver.NamedValue) []driver.NamedValue {
	if k.order == nil {
		return args
	}
	if k.given == nil {
		k.given = make([]driver.NamedValue, len(k.order))
	}
	for i, from := range k.order {
		k.given[i] = driver.NamedValue{Ordinal: i + 1, Value: args[from].Value}
	}
	return k.given
}

// out forgets the arguments, which the driver has copied.
func (k *kept) out() { clear(k.given) }

// keep wraps a connection. Begin is the statement that its transactions begin with.
func keep(c driver.Conn, begin string) (driver.Conn, error) {
	conn, ok := c.(sqliteConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a connection of type %T lacks something", c), c.Close())
	}
	return &keepingConn{sqliteConn: conn, begin: begin, kept: map[string]*list.Element{}, recent: list.New()}, nil
}

// ExecContext implements driver.ExecerContext. One statement that is refused has changed nothing.
func (c *keepingConn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	k, err := c.take(ctx, text, len(args))
	if err != nil {
		c.shaken = true
		return nil, err
	}
	var res driver.Result
	if k.stmt == nil {
		res, err = c.sqliteConn.ExecContext(ctx, k.run, k.in(args))
	} else if res, err = k.stmt.ExecContext(ctx, k.in(args)); err != nil {
		err = errors.Join(err, c.drop(k))
	}
	k.out()
	if err != nil {
		// Of several statements the first ones may have run; a context that ended says nothing about what was done.
		c.shaken, c.changed = true, c.changed || k.other || ctx.Done() != nil
		return nil, err
	}
	c.note(k)
	if k.stmt == nil {
		return res, nil
	}
	return res, c.give(k)
}

// note notes what a statement may do to the transaction.
func (c *keepingConn) note(k *kept) {
	c.changed = c.changed || !k.reads
	c.shaken = c.shaken || k.other
}

// PrepareContext implements driver.ConnPrepareContext. What the statement will do is not known.
func (c *keepingConn) PrepareContext(ctx context.Context, text string) (driver.Stmt, error) {
	c.changed, c.shaken = true, true
	return c.sqliteConn.PrepareContext(ctx, text)
}

// QueryContext implements driver.QueryerContext.
func (c *keepingConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	k, err := c.take(ctx, text, len(args))
	if err != nil {
		c.shaken = true
		return nil, err
	}
	c.note(k)
	if k.stmt == nil {
		c.shaken = true // its rows are not watched
		return c.sqliteConn.QueryContext(ctx, k.run, k.in(args))
	}
	rows, err := k.stmt.QueryContext(ctx, k.in(args))
	k.out()
	if err != nil {
		c.shaken = true
		return nil, errors.Join(err, c.drop(k))
	}
	return &keptRows{Rows: rows, conn: c, done: func(err error) error {
		if err != nil {
			return errors.Join(err, c.drop(k))
		}
		return c.give(k)
	}}, nil
}

// BeginTx implements driver.ConnBeginTx. A transaction that nobody interrupts begins and ends with kept statements.
func (c *keepingConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if ctx.Done() != nil || opts != (driver.TxOptions{}) {
		return c.sqliteConn.BeginTx(ctx, opts)
	}
	if _, err := c.ExecContext(ctx, c.begin, nil); err != nil {
		return nil, err
	}
	return keptTx{c}, nil
}

// keptTx is the transaction of a connection.
type keptTx struct{ c *keepingConn }

// Commit implements driver.Tx. It leaves no transaction open.
func (t keptTx) Commit() error {
	_, err := t.c.ExecContext(context.Background(), "COMMIT", nil)
	if err != nil {
		_ = t.Rollback() // fails if the transaction has ended already
	}
	return err
}

// Rollback implements driver.Tx.
func (t keptTx) Rollback() error {
	_, err := t.c.ExecContext(context.Background(), "ROLLBACK", nil)
	return err
}

// Close implements driver.Conn.
func (c *keepingConn) Close() error {
	var errs []error
	for e := c.recent.Front(); e != nil; e = e.Next() {
		k := e.Value.(*kept) //nolint:forcetypeassert // holds nothing else
		if k.at = nil; !k.busy {
			errs = append(errs, k.stmt.Close())
		}
	}
	c.recent.Init()
	clear(c.kept)
	return errors.Join(append(errs, c.sqliteConn.Close())...)
}

// take returns the statement, compiled if it is worth to be kept. It is nobody else's until it is given back or closed.
func (c *keepingConn) take(ctx context.Context, text string, args int) (*kept, error) {
	if e := c.kept[text]; e != nil {
		k := e.Value.(*kept) //nolint:forcetypeassert // holds nothing else
		if k.order != nil && k.args != args {
			return &kept{text: text, run: text, other: true}, nil // SQLite says what is wrong
		}
		if !k.busy {
			k.busy = true
			c.recent.MoveToFront(e)
			return k, nil
		}
	}
	k := &kept{text: text, args: args, busy: true}
	k.reads, k.other = purpose(text)
	k.run, k.order = positional(text, args)
	if !worthKeeping(text) {
		return k, nil
	}
	s, err := c.sqliteConn.PrepareContext(ctx, k.run)
	if err != nil {
		return nil, err
	}
	stmt, ok := s.(sqliteStmt)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a statement of type %T lacks something", s), s.Close())
	}
	k.stmt = stmt
	return k, nil
}

// give keeps a statement that is no longer in use, in the place of the one that was not used for longest.
func (c *keepingConn) give(k *kept) error {
	k.busy = false
	if k.at != nil {
		return nil
	}
	if c.kept[k.text] != nil {
		return k.stmt.Close() // it ran twice at the same time
	}
	k.at = c.recent.PushFront(k)
	c.kept[k.text] = k.at
	for e := c.recent.Back(); c.recent.Len() > keptStatements && e != nil; e = e.Prev() {
		if last := e.Value.(*kept); !last.busy { //nolint:forcetypeassert // holds nothing else
			return c.drop(last)
		}
	}
	return nil
}

// drop closes a statement, and keeps it no longer.
func (c *keepingConn) drop(k *kept) error {
	if k.at != nil {
		c.recent.Remove(k.at)
		delete(c.kept, k.text)
		k.at = nil
	}
	return k.stmt.Close()
}

// keptRows gives the statement back once the rows have been read.
type keptRows struct {
	driver.Rows
	conn *keepingConn
	done func(error) error
}

// Next implements driver.Rows.
func (r *keptRows) Next(dest []driver.Value) error {
	err := r.Rows.Next(dest)
	if err != nil && !errors.Is(err, io.EOF) {
		r.conn.shaken = true
	}
	return err
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

// purpose says whether a statement does nothing but read rows, or neither reads nor changes rows. It looks at the first word only;
// what is not surely understood does anything.
func purpose(text string) (reads, other bool) {
	switch verb(text) {
	case "SELECT":
		return !strings.Contains(text, ";"), strings.Contains(text, ";")
	case "INSERT", "UPDATE", "DELETE", "WITH":
		return false, strings.Contains(text, ";")
	}
	return false, true
}

func verb(text string) string {
	first, _, _ := strings.Cut(strings.TrimLeft(text, " \t\r\n"), " ")
	return strings.ToUpper(strings.TrimSpace(first))
}

// worthKeeping reports whether a statement is likely to be run again: those of migrations and pragmas are not.
func worthKeeping(text string) bool {
	if len(text) > keptLength {
		return false
	}
	switch verb(text) {
	case "SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE":
		return !strings.Contains(text, ";")
	}
	return false
}

// positional replaces the parameters $1, $2, … by ? and returns which argument each of those gets; nil if they stand in
// their order, each once. To SQLite $1 is a name, and it compares the name of each parameter with those of all before it: of
// a list of 2,000 values that takes longer than to insert them. And the driver asks for the name of each, and looks for it,
// whenever it runs the statement. A text that is not surely understood stays as it is.
func positional(text string, args int) (run string, order []int) {
	if args == 0 {
		return text, nil
	}
	var b strings.Builder
	b.Grow(len(text))
	used := make([]bool, args)
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '?', '`', '[', '@', ':', '#':
			return text, nil
		case '-', '/':
			if i+1 < len(text) && (text[i+1] == '-' || text[i+1] == '*') {
				return text, nil
			}
			b.WriteByte(c)
		case '\'', '"':
			end := strings.IndexByte(text[i+1:], c)
			if end < 0 {
				return text, nil
			}
			b.WriteString(text[i : i+1+end+1])
			i += end + 1
		case '$':
			end := i + 1
			for end < len(text) && text[end] >= '0' && text[end] <= '9' {
				end++
			}
			n, err := strconv.Atoi(text[i+1 : end])
			if err != nil || n < 1 || n > args || text[i+1] == '0' {
				return text, nil
			}
			used[n-1] = true
			order = append(order, n-1)
			b.WriteByte('?')
			i = end - 1
		default:
			b.WriteByte(c)
		}
	}
	if slices.Contains(used, false) {
		return text, nil
	}
	for i, n := range order {
		if i != n {
			return b.String(), order
		}
	}
	return b.String(), nil
}
