package com.algorithmia.development;

/** The development kit: {@code new ADK<>(algorithm).init()} serves an algorithm. */
public class ADK<INPUT, OUTPUT> extends Handler<INPUT, OUTPUT> {
    public ADK(AbstractAlgorithm<INPUT, OUTPUT> implementation) {
        super(implementation);
    }
}
