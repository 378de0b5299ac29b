"""What rcache knows of other libraries; none of them is imported unless its module is."""
