package com.algorithmia.algorithm;

import static org.junit.Assert.assertEquals;

import org.junit.Test;

public class AlgorithmTest {
    @Test
    public void itSaysHello() {
        Algorithm algorithm = new Algorithm();
        assertEquals("hello Jane", algorithm.apply(new Algorithm.Input("Jane", null)));
        assertEquals("hello Jane Doe", algorithm.apply(new Algorithm.Input("Jane", "Doe")));
    }
}
