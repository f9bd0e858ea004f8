// Package match answers which records are about the same person or organisation.
//
// It follows Fellegi and Sunter: every pair of records is compared field by field, each comparison gives a level of
// agreement, and each level has a weight, the logarithm of how much more often it is seen among records of one
// customer than among records of two. The weights are learned from the data itself, without labels (Train). A pair's
// score is the sum of its weights; evidence that rules a pair out, such as two different tax numbers, is a veto and
// outweighs any score. Pairs are decided together (Cluster): strongest first, never against a veto, so that the answer
// does not depend on the order in which records arrived.
//
// The package is pure: no clock, no randomness but a fixed seed, no storage, no I/O. All values are safe for concurrent
// use once built. It knows nothing of golden records; the records are the caller's.
package match
