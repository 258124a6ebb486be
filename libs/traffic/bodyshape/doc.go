// Package bodyshape says which fields the JSON body of an answer has, and of which types, and nothing of what they hold. The
// tap describes production's answers by it and the runner the shadow's, so that the two can be compared although no body ever
// leaves production.
//
//	{"items": [{"id": 7, "price": 2.5}, {"id": 8, "price": null}], "owners": {"ann@example.com": {"age": 30}}}
//
//	$ object
//	    items   array
//	        []  object
//	            id     number
//	            price  number or null
//	    owners  object
//	        *   object                  a name that may be data is none
//	            age    number
//
// The elements of a list are taken together. So are the fields of an object whose names are no identifiers, or of which
// there are more than an interface has: such an object is a map.
//
// A name can be data even where it looks like an identifier: {"alice": {...}}. A Vocabulary lets only those names through
// that the answers to several sessions have in the same place. What it holds back is taken together with the rest, and
// Compare knows that anything may be among that.
//
// Everything is bounded: the bytes that are read, the depth, the fields, and the names that a vocabulary keeps.
package bodyshape
