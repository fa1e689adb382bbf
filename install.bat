@echo off
rem Set up without starting anything. run.bat does this too.
python "%~dp0install_core.py" %*
