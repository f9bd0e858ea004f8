// Package soql reads the query language of Salesforce into a tree.
//
// It knows the grammar and nothing about which objects and fields exist; the
// query package checks and runs the tree. Supported: field lists with parent
// paths, child subqueries, TYPEOF, functions (aggregates, dates, toLabel,
// FORMAT, convertCurrency, FIELDS), USING SCOPE, WHERE with every comparison and
// with semi-joins, GROUP BY with ROLLUP and CUBE, HAVING, ORDER BY, LIMIT,
// OFFSET, FOR, aliases. What only Apex or only articles allow, such as ALL ROWS
// and WITH, is refused by name.
package soql

// Query is a parsed statement or subquery.
type Query struct {
	Items []Item
	// Count is set for SELECT COUNT().
	Count bool
	// All holds the argument of FIELDS(), upper case, or is empty.
	All string
	// From is an object, or the relationship in a child subquery, where Outer
	// holds what was written before it: Account in FROM Account.Contacts.
	From  string
	Outer []string
	Alias string
	// Joins are further aliases, for parents: FROM Contact c, c.Account a.
	Joins []Join
	// FromPos is the offset of the object's name in the text.
	FromPos int
	// Scope is the word after USING SCOPE, lower case, or empty.
	Scope    string
	ScopePos int
	Where    Expr
	GroupBy  []Term
	// Totals is ROLLUP or CUBE if the groups have subtotals, or empty.
	Totals  string
	Having  Expr
	OrderBy []Order
	// Limit and Offset are negative when absent.
	Limit  int
	Offset int
	// For is VIEW, REFERENCE, UPDATE or empty.
	For string
}

// Item is one element of the selection: a term, FIELDS() with the argument as
// path, a child subquery, or fields that depend on the type of a parent.
type Item struct {
	Term
	Alias  string
	Sub    *Query
	Typeof *Typeof
}

// Typeof selects fields of a parent by the type that it has.
type Typeof struct {
	Path  Path
	Whens []When
	// Else are the fields of parents of other types; nil if there are none.
	Else []Path
}

// When names the fields of parents of one type.
type When struct {
	Object string
	Pos    int
	Fields []Path
}

// Term is a field, or a function of one. Func is upper case, and so is Inner,
// the function inside of it: MIN in FORMAT(MIN(CloseDate)).
type Term struct {
	Func  string
	Inner string
	Path  Path
	Pos   int
}

// Join gives a name to a path of parents.
type Join struct {
	Path  Path
	Alias string
}

// Path is a field, perhaps through parents: Account.Owner.Name.
type Path struct {
	Names []string
	Pos   int
}

// Order is one term of ORDER BY.
type Order struct {
	Term
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

// Compare tests one term against one value, against several for IN, INCLUDES
// and EXCLUDES, or against the rows of a subquery.
type Compare struct {
	Term
	// Op is one of = != < <= > >= LIKE IN, NOT IN, INCLUDES, EXCLUDES.
	Op     string
	Values []Value
	Sub    *Query
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

// Value is a literal. Text holds the string with only \_, \% and \\ left
// escaped, the digits, the upper case word, or the date as written.
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
