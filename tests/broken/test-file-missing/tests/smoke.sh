#!/bin/sh
hello --version
