// Package normal brings the spellings of one value into one form: names, addresses, phone numbers, e-mail addresses,
// web sites, tax numbers and dates.
//
// Every function is pure, safe for concurrent use, and idempotent: a normalised value is its own normal form. What
// cannot be understood is never dropped: it comes back in the plainest form there is, because a wrong value is still
// evidence. An empty result means that nothing was left to compare.
//
// The results are for comparing and looking up, not for showing: they lose case, accents and punctuation.
package normal
