package store

// Wishes are what the caller of a write asked for in headers. The zero value
// asks for nothing: no assignment, no duplicates.
type Wishes struct {
	// Assign names an assignment rule by its id; AssignActive is the active
	// one and an empty text none.
	Assign string
	// AllowDuplicates saves a record although a duplicate rule warns.
	AllowDuplicates bool
	// DuplicateDetails asks for the fields of the records that it is like.
	DuplicateDetails bool
	// Version is the API version of links in refusals, such as 62.0.
	Version string
}

// AssignActive stands for the active assignment rule of an object.
const AssignActive = "TRUE"

// Rules are what an administrator laid down about records. They are consulted
// under the write lock, for each version before it is stored.
type Rules interface {
	// Check refuses a version. old is nil for a new record, which has no id.
	Check(v View, w Wishes, old, next *Record) *Error
	// Assign returns the id of the owner that a version gets, or an empty text
	// to leave the owner as it is.
	Assign(v View, w Wishes, next *Record) (string, *Error)
}

// Duplicates says what a refused record is like.
type Duplicates struct {
	// Rule and MatchRule are names, Engine is that of the matching.
	Rule, MatchRule, Engine string
	// AllowSave says that the caller may insist.
	AllowSave bool
	Message   string
	Matches   []*Record
	// Details says that the caller wants the fields of the matches.
	Details bool
	Version string
}

// Wish replaces what the caller of the following changes asked for.
func (tx *Tx) Wish(w Wishes) { tx.meta.Wishes = w }

// obey applies the rules to a version that is about to be stored.
func (tx *Tx) obey(old, next *Record) *Error {
	if tx.s.opt.Rules == nil {
		return nil
	}
	return tx.s.opt.Rules.Check(tx.View, tx.meta.Wishes, old, next)
}

// assign gives a version the owner that the rules want.
func (tx *Tx) assign(next *Record) *Error {
	if tx.s.opt.Rules == nil || tx.meta.Wishes.Assign == "" {
		return nil
	}
	owner, err := tx.s.opt.Rules.Assign(tx.View, tx.meta.Wishes, next)
	if err != nil || owner == "" {
		return err
	}
	for _, f := range next.Object.Fields {
		if f.Owner {
			next.set(f, owner)
		}
	}
	return nil
}
