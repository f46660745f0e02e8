package com.algorithmia.algorithm;

import com.algorithmia.development.ADK;
import com.algorithmia.development.AbstractAlgorithm;
import com.algorithmia.development.Required;

public class Algorithm extends AbstractAlgorithm<Algorithm.Input, String> {

    /** The JSON object that callers send. */
    public static class Input {
        @Required String first_name;
        String last_name;

        Input(String firstName, String lastName) {
            first_name = firstName;
            last_name = lastName;
        }
    }

    /** Called once for every request. */
    @Override
    public String apply(Input input) {
        String rest = input.last_name == null ? "" : " " + input.last_name;
        return "hello " + input.first_name + rest;
    }

    /** Called once, before the first request; a good place to fetch a model. */
    @Override
    public void load() {}

    public static void main(String[] arguments) {
        new ADK<>(new Algorithm()).init();
    }
}
