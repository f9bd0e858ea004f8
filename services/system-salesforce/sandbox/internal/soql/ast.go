// Package soql reads the query language of Salesforce into a tree.
//
// It knows the grammar and nothing about which objects and fields exist; the
// query package checks and runs the tree. Supported: field lists with parent
// paths, COUNT(), FIELDS(ALL|STANDARD|CUSTOM), WHERE with every comparison on
// one field, ORDER BY, LIMIT, OFFSET. Child subqueries, semi-joins, TYPEOF,
// GROUP BY and the other aggregates are refused as malformed.
package soql

// Query is a parsed statement.
type Query struct {
	Fields []Path
	// Count is set for SELECT COUNT().
	Count bool
	// All holds the argument of FIELDS(), upper case, or is empty.
	All   string
	From  string
	Alias string
	// FromPos is the offset of the object's name in the text.
	FromPos int
	Where   Expr
	OrderBy []Order
	// Limit and Offset are negative when absent.
	Limit  int
	Offset int
}

// Path is a field, perhaps through parents: Account.Owner.Name.
type Path struct {
	Names []string
	Pos   int
}

// Order is one term of ORDER BY.
type Order struct {
	Path      Path
	Desc      bool
	NullsLast bool
}

// Expr is a condition: And, Or, Not or Compare.
type Expr interface{ expr() }

// And is true if all terms are.
type And []Expr

// Or is true if one term is.
type Or []Expr

// Not is true if its term is not.
type Not struct{ Of Expr }

// Compare tests one field against one value, or against several for IN.
type Compare struct {
	Path Path
	// Op is one of = != < <= > >= LIKE IN, NOT IN.
	Op     string
	Values []Value
}

func (And) expr()     {}
func (Or) expr()      {}
func (Not) expr()     {}
func (Compare) expr() {}

// ValueKind is the kind of a literal.
type ValueKind uint8

// The kinds of literal.
const (
	Null ValueKind = iota
	Text
	Number
	Bool
	Date
	DateTime
	// DateLiteral is a word such as TODAY or LAST_N_DAYS:7.
	DateLiteral
)

// Value is a literal. Text holds the unescaped string, the digits, the upper
// case word, or the date as written.
type Value struct {
	Kind ValueKind
	Text string
	// N is the number after the colon of a date literal.
	N   int
	Pos int
}

// SyntaxError says where the text stops being a query.
type SyntaxError struct {
	Pos     int
	Message string
}

// Error implements error.
func (e *SyntaxError) Error() string { return e.Message }
