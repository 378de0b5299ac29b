"""The store on a Redis Cluster: every script stays in one slot, and what spans several takes several trips."""
