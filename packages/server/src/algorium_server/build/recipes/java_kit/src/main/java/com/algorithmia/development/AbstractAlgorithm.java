package com.algorithmia.development;

/** What an algorithm extends: {@code apply} answers calls, {@code load} prepares for them. */
public abstract class AbstractAlgorithm<INPUT, OUTPUT> {
    public abstract OUTPUT apply(INPUT input);

    public void load() {}
}
