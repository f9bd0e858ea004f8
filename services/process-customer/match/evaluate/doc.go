// Package evaluate trains models from CSV files and measures them against a known truth, through the same code that the
// service matches with.
//
// It reads any CSV files: a mapping says which columns mean what. It holds all records in memory. It writes no record's
// values into its reports, except into the examples that it was asked for.
package evaluate
