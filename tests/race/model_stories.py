"""Stories that `coherence_model.py` tells: for each rule the case, and the steps that end in a stale answer without it."""

STORIES = {
    "start": (
        "store",
        """
        w0 places its hold | w0 logs its hold | w0 may commit | f1 begins | f1 reads version 0 | w0 COMMITS | r0
        begins | r0 looks up | w0 DIES | w0's hold runs out: purged | f1 sends its store | f1 stored unchecked, late
        | r0 gets the entry | r0 gets version 0 from the store, floor 1
        """,
    ),
    "mark": (
        "store",
        """
        w0 places its hold | w0 logs its hold | w0 may commit | f1 begins | f1 reads version 0 | w0 COMMITS | r0
        begins | r0 looks up | w0 DIES | w0's hold runs out: purged | f1 sends its store | f1 stored unchecked, late
        | r0 gets the entry | r0 gets version 0 from the store, floor 1
        """,
    ),
    "max": (
        "store, two writers",
        """
        w1 places its hold | w1 logs its hold | w1 may commit | w1 COMMITS | w1 takes a number | w0 places its hold
        | w0 logs its hold | w0 may commit | f0 begins | f0 reads version 1 | w0 COMMITS | r0 begins | r0 looks up |
        w0 takes a number | w0 marks the tag | w1 marks the tag | w1 logs its purge | w0 logs its purge | f0 sends
        its store | f0 stored | r0 gets the entry | r0 gets version 1 from the store, floor 2
        """,
    ),
    "born": (
        "lost guard",
        """
        w0 places its hold | w0 logs its hold | w0 may commit | f1 begins | f1 reads version 0 | w0 COMMITS | r0
        begins | r0 looks up | w0 takes a number | w0 marks the tag | w0 logs its purge | f1 sends its store | f0
        begins | f0 reads version 1 | f0 sends its store | f0 stored | f0 not kept near | the guard is lost | the
        guard is made again | f1 stored | r0 gets the entry | r0 gets version 0 from the store, floor 1
        """,
    ),
    "quarantine": (
        "lost guard",
        """
        w0 places its hold | w0 logs its hold | w0 may commit | f1 begins | f1 reads version 0 | f1 sends its store
        | f1 refused | the guard is lost | the guard is made again | f0 begins | f0 reads version 0 | w0 COMMITS |
        r0 begins | r0 looks up | w0 takes a number | f0 sends its store | f0 stored | r0 gets the entry | r0 gets
        version 0 from the store, floor 1
        """,
    ),
    "mark_first": (
        "invalidate(), one node",
        """
        r1 begins | r1 looks up | f0 begins | f0 reads version 0 | w0 COMMITS by itself | w0 logs its purge | f0
        sends its store | f0 stored | r1 gets the entry | r1 store hit | w0 marks the tag | f0 kept near A | B reads
        'purge' | A reads 'purge' | r1 keeps it near A | w0's invalidate() returns | r0 begins | r0 gets version 0
        from near A, floor 1
        """,
    ),
    "hold": (
        "store",
        """
        w0 goes on without a hold | f1 begins | f1 reads version 0 | w0 COMMITS | r0 begins | r0 looks up | w0 DIES
        | f1 sends its store | f1 stored unchecked, late | r0 gets the entry | r0 gets version 0 from the store,
        floor 1
        """,
    ),
    "keep_hold": (
        "unknown COMMIT",
        """
        w0 places its hold | w0 logs its hold | w0 may commit | w0 loses the connection, purges | f0 begins | f0
        reads version 0 | w0's COMMIT lands | r0 begins | r0 looks up | f0 sends its store | f0 stored unchecked,
        late | r0 gets the entry | r0 gets version 0 from the store, floor 1
        """,
    ),
    "near_mark": (
        "invalidate()",
        """
        f1 begins | f1 reads version 0 | f1 sends its store | f1 stored | f1 kept near B | f0 begins | f0 reads
        version 0 | w0 COMMITS by itself | w0 takes a number | f0 sends its store | f0 stored | w0 marks the tag |
        w0 logs its purge | B reads 'number' | B reads 'purge' | A reads 'number' | A reads 'purge' | w0's
        invalidate() returns | r0 begins | f0 kept near A | r0 gets version 0 from near A, floor 1
        """,
    ),
    "wait": (
        "invalidate()",
        """
        f1 begins | f1 reads version 0 | f1 sends its store | f1 stored | f1 kept near B | f0 begins | f0 reads
        version 0 | w0 COMMITS by itself | w0 takes a number | f0 sends its store | f0 stored | w0 marks the tag |
        w0 logs its purge | w0's invalidate() returns | r0 begins | f0 kept near A | r0 gets version 0 from near A,
        floor 1
        """,
    ),
    "lapse": (
        "near, frozen node",
        """
        r1 begins | r1 looks up | r1 misses | f0 begins | f0 reads version 0 | f0 sends its store | f0 stored | w0
        places its hold | w0 logs its hold | f0 kept near A | B reads 'hold' | A is frozen past its lease | w0 may
        commit | w0 COMMITS | w0 takes a number | w0 marks the tag | w0 logs its purge | A wakes | r0 begins | r0
        gets version 0 from near A, floor 1
        """,
    ),
    "floor": (
        "near, lost place",
        """
        r1 begins | r1 looks up | r1 misses | f0 begins | f0 reads version 0 | f0 sends its store | f0 stored | w0
        places its hold | w0 logs its hold | B reads 'hold' | A loses its place, clears, resumes at the end | w0 may
        commit | w0 COMMITS | r0 begins | w0 takes a number | w0 marks the tag | w0 logs its purge | f0 kept near A
        | r0 gets version 0 from near A, floor 1
        """,
    ),
    "place_first": (
        "near, lost place",
        """
        r1 begins | r1 looks up | r1 misses | w0 logs its hold | f0 begins | f0 reads version 0 | f0 sends its store
        | f0 stored | w0 places its hold | B reads 'hold' | A reads 'hold' | w0 may commit | w0 COMMITS | r0 begins
        | A loses its place, clears, resumes at the end | w0 takes a number | w0 marks the tag | w0 logs its purge |
        f0 kept near A | r0 gets version 0 from near A, floor 1
        """,
    ),
}
