@echo off
rem Stops what scripts\bat\start-cluster.bat started: the gateway, the workers (they finish or give back what they hold), the
rem coordinators. The data stays.
setlocal
call "%~dp0lib.bat" :init
call "%~dp0lib.bat" :options %*
if errorlevel 2 exit /b 2
if errorlevel 1 exit /b 0
call "%~dp0lib.bat" :stop_all
