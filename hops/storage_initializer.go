// storage_initializer.go: what can go wrong at the hop storage-initializer.
package hops

func storageRules() []Rule {
	return []Rule{}
}
